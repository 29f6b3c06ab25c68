package directory

const applicationID = 0x50486472 // "PHdr"

// schema are the steps from each format of the database to the next; docs/FORMATS.md tells the same in words.
func schema() []string { return []string{format1, format2, format3, format4, format5} }

const format1 = `
CREATE TABLE domain (
  name      TEXT PRIMARY KEY,           -- mail.Address.Domain form
  catch_all TEXT NOT NULL               -- address, or empty
) WITHOUT ROWID;
CREATE TABLE account (
  id       TEXT PRIMARY KEY,
  login    TEXT NOT NULL UNIQUE,        -- address, local part folded
  hash     TEXT NOT NULL,               -- PHC string
  created  INTEGER NOT NULL,            -- seconds since 1970
  disabled INTEGER NOT NULL             -- the same, or 0
) WITHOUT ROWID;
CREATE TABLE alias (
  address TEXT NOT NULL,                -- local part folded
  target  TEXT NOT NULL,
  PRIMARY KEY (address, target)
) WITHOUT ROWID;
CREATE INDEX alias_target ON alias(target);
`

// format2: what else opens an account than its password, and what it may send.
const format2 = `
CREATE TABLE house (
  secret     BLOB NOT NULL,             -- key of salts and digests
  iterations INTEGER NOT NULL           -- of SCRAM
);
CREATE TABLE app_password (
  id      TEXT PRIMARY KEY,
  account TEXT NOT NULL,
  label   TEXT NOT NULL,
  scope   INTEGER NOT NULL,             -- bits of Scope
  digest  BLOB NOT NULL,
  created INTEGER NOT NULL,             -- seconds since 1970
  expires INTEGER NOT NULL,             -- the same, or 0
  used    INTEGER NOT NULL              -- the same, or 0
) WITHOUT ROWID;
CREATE INDEX app_password_account ON app_password(account);
CREATE TABLE scram (
  account TEXT NOT NULL,
  app     TEXT NOT NULL,                -- app_password.id, or empty: the account's own password
  hash    TEXT NOT NULL,                -- password.Hash
  stored  BLOB NOT NULL,
  server  BLOB NOT NULL,
  PRIMARY KEY (account, app, hash)
) WITHOUT ROWID;
CREATE TABLE allowance (
  account        TEXT PRIMARY KEY,
  messages       INTEGER NOT NULL,      -- a day; 0: the default, -1: any number
  recipients     INTEGER NOT NULL,
  new_recipients INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE spent (
  account        TEXT PRIMARY KEY,
  day            INTEGER NOT NULL,      -- since 1970, UTC
  messages       INTEGER NOT NULL,
  recipients     INTEGER NOT NULL,
  new_recipients INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE correspondent (
  account TEXT NOT NULL,
  digest  BLOB NOT NULL,                -- of an address it has sent to
  day     INTEGER NOT NULL,             -- when it did so last
  PRIMARY KEY (account, digest)
) WITHOUT ROWID;
CREATE TABLE suppression (
  address TEXT PRIMARY KEY,
  reason  TEXT NOT NULL,
  since   INTEGER NOT NULL,
  expires INTEGER NOT NULL              -- or 0
) WITHOUT ROWID;
`

const format3 = `
ALTER TABLE account ADD COLUMN sent_copies INTEGER NOT NULL DEFAULT 0; -- SentCopies
`

const format4 = `
ALTER TABLE account ADD COLUMN quota_octets INTEGER NOT NULL DEFAULT 0;   -- Quota
ALTER TABLE account ADD COLUMN quota_messages INTEGER NOT NULL DEFAULT 0;
`

// format5: extensions that an account is without, accounts that nobody logs in to, and who may have granted rights to whom.
const format5 = `
ALTER TABLE account ADD COLUMN without TEXT NOT NULL DEFAULT ''; -- extensions of IMAP, divided by spaces
ALTER TABLE account ADD COLUMN shared INTEGER NOT NULL DEFAULT 0;
ALTER TABLE account ADD COLUMN role INTEGER NOT NULL DEFAULT 0;  -- Role
CREATE TABLE share (
  owner   TEXT NOT NULL,                -- account.id
  with_id TEXT NOT NULL,                -- the same, or "anyone"
  PRIMARY KEY (owner, with_id)
) WITHOUT ROWID;
CREATE INDEX share_with ON share(with_id);
`
