// Package mailbox owns accounts' boxes, messages, flags, UIDs and mod-sequences. Every change is a value, and Apply is the only
// road to an "OK": atomic, durable, numbered.
//
// It must not know any protocol, authentication or the network, and no directory: an account is an opaque AccountID here.
//
// The flow: Store.Account → Stage (the body, not yet visible) → Apply(Add…); Snapshot → Facts, Open to read; Watch as a hint and
// Snapshot as the truth to follow changes.
//
// Locks and durability: one writer per account gathers all mutations waiting into one transaction and one fdatasync; readers never
// wait for it. A Snapshot is immutable, shared between sessions, and holds no lock and no transaction.
package mailbox

import (
	"context"
	"errors"
	"io"
	"iter"
	"strconv"
	"time"

	"posthouse/mail"
	"posthouse/mail/mime"
)

// Errors an Account answers with.
var (
	ErrNoBox       = errors.New("mailbox: no such mailbox")
	ErrBoxExists   = errors.New("mailbox: that mailbox exists")
	ErrBoxName     = errors.New("mailbox: not a mailbox name")
	ErrInbox       = errors.New("mailbox: INBOX can be neither deleted nor replaced")
	ErrHasChildren = errors.New("mailbox: that mailbox has children")
	ErrSpecialUse  = errors.New("mailbox: another mailbox has that special use")
	ErrNoBlob      = errors.New("mailbox: no such message content")
	ErrGrantee     = errors.New("mailbox: nobody who can be granted rights")
	ErrReadOnly    = errors.New("mailbox: nothing can be changed there like that")
	ErrOverQuota   = errors.New("mailbox: over quota")
	ErrLimit       = errors.New("mailbox: too many boxes, keywords or messages")
	ErrFull        = errors.New("mailbox: no space left")  // nothing was changed; try again later
	ErrFailed      = errors.New("mailbox: storage failed") // a write or sync failed: nothing more is changed until a restart
	ErrCorrupt     = errors.New("mailbox: the database is damaged")
	ErrClosed      = errors.New("mailbox: closed")
)

// Limits of an account; one over is ErrLimit, ErrBoxName for names.
const (
	MaxBoxes        = 100_000
	MaxBoxName      = 1000     // octets of UTF-8, the whole path
	MaxBoxDepth     = 50       // levels
	MaxKeywords     = 59       // per box: with the five system flags they fill a Flags
	MaxKeyword      = 255      // octets of a keyword
	MaxCachedHeader = 32 << 10 // octets of a header kept beside its message, ready to send
)

// Inbox is the name of the box that always exists; in any case it is this one.
const Inbox = "INBOX"

// Separator divides the levels of a box name.
const Separator = "/"

type (
	// BoxID names a box for ever, through renames.
	BoxID int64
	// BlobID names one immutable message content; copies share it.
	BlobID int64
	// UID is a message's number in its box: ascending, never reused, never 0.
	UID uint32
	// ModSeq numbers the changes of an account, ascending; RFC 7162 §3.
	ModSeq int64
)

// Store holds accounts.
type Store interface {
	// Account opens an account, made with Inbox and DefaultBoxes if it is new. Release it by Close.
	Account(ctx context.Context, id mail.AccountID) (Account, error)
	// AccountAs is Account as another user has it: \Seen, and what is counted by it, is that user's own, in what is shown and in what is
	// changed, and so are annotations below /private. Mod-sequences are those of all that the user can see. What the user may do is not
	// asked: Box.RightsOf tells.
	AccountAs(ctx context.Context, id, user mail.AccountID) (Account, error)
	// Remove deletes an account's messages for good.
	Remove(ctx context.Context, id mail.AccountID) error
	// Close waits for what is under way.
	Close() error
}

// Account is one account's boxes. All methods may be called from many goroutines.
type Account interface {
	// Boxes are all boxes, ordered by name, Inbox first.
	Boxes(ctx context.Context) ([]Box, error)
	// Box is the box of that name.
	Box(ctx context.Context, name string) (Box, error)
	// Subscriptions are the names subscribed to, whether boxes of that name exist or not (RFC 9051 §6.3.7), ordered.
	Subscriptions(ctx context.Context) ([]string, error)
	// Stage reads a message to its end, parses it and keeps it for an Add. What no Add took is gone after Discard or a restart.
	Stage(ctx context.Context, r io.Reader) (BlobID, error)
	// Discard forgets staged content that no Add took.
	Discard(id BlobID)
	// Apply makes all the changes or none. Its nil means durable.
	Apply(ctx context.Context, changes ...Mutation) (Applied, error)
	// Snapshot is a box as it stands.
	Snapshot(ctx context.Context, box BoxID) (*Snapshot, error)
	// Facts yields what is known of contents, in the order asked; unknown ones are left out. What it yields is valid until the
	// next step of the iteration. No lock and no transaction is held meanwhile: whoever takes them may be slow.
	Facts(ctx context.Context, want FactSet, blobs iter.Seq[BlobID]) iter.Seq2[*Facts, error]
	// Open reads a message's octets. The caller closes it. It stays readable though the message be expunged meanwhile.
	Open(ctx context.Context, id BlobID) (mail.Content, error)
	// Suspects are, for each text, the contents that may have it in what is searched of them (mime.Scanner); the text is collated. They
	// are all if there is no index, or it failed, which costs time and nothing else.
	Suspects(ctx context.Context, texts ...[]byte) []Suspects
	// Fuzzy ranks the contents that have all the words of a text, or words that begin with them, whatever their case and accents. Those that
	// the index has not reached it does not know; a few hundred are indexed for it.
	Fuzzy(ctx context.Context, in Place, text string) Ranks
	// Vanished is the UIDs that left a box after a mod-sequence (RFC 7162 §3.2.5). False: expunges that old are no longer known of,
	// and the set is empty.
	Vanished(ctx context.Context, box BoxID, since ModSeq) (UIDSet, bool, error)
	// Expunged yields what Restore can bring back, the oldest first.
	Expunged(ctx context.Context) iter.Seq2[Expunged, error]
	// UIDLs is the names for POP3 of a box's messages that have another than Box.UIDL.
	UIDLs(ctx context.Context, box BoxID) (map[UID]string, error)
	// LineEnds is how many octets contents lack for each of their lines to end in CRLF, the last one too; of those that lack any. Of
	// contents staged before this was kept it knows nothing.
	LineEnds(ctx context.Context) (map[BlobID]int64, error)
	// Usage is how much all boxes hold.
	Usage(ctx context.Context) (Usage, error)
	// Annotations are the entries of a box, or with no box of the account itself, that were set or taken away after a mod-sequence,
	// ordered.
	Annotations(ctx context.Context, box BoxID, since ModSeq) ([]Annotation, error)
	// Annotated is the boxes (0: the account itself) that have such entries, and the mod-sequence of the latest.
	Annotated(ctx context.Context, since ModSeq) ([]BoxID, ModSeq, error)
	// Watch sends the account's mod-sequence after changes, the latest only, until ctx ends. A hint: Snapshot is the truth.
	Watch(ctx context.Context) (<-chan ModSeq, error)
	// Close releases the account.
	Close() error
}

// Box is one mailbox as it stands.
type Box struct {
	ID          BoxID
	Name        string // UTF-8 in NFC, levels divided by Separator
	Special     SpecialUse
	Subscribed  bool
	NoSelect    bool // only a level of the hierarchy, left by DeleteBox: it holds no messages
	UIDValidity uint32
	UIDNext     UID
	ModSeq      ModSeq // of its latest change
	Messages    int64
	Unseen      int64
	Deleted     int64
	Size        int64   // octets of all messages
	DeletedSize int64   // octets of those that are marked Deleted
	ACL         []Grant // by Who; not to be changed
	// Owner is whose it is, where another user has the account. Empty: the account is that user's own.
	Owner mail.AccountID
}

// Usage is how much an account holds.
type Usage struct{ Octets, Messages, Boxes int64 }

// SpecialUse is a use attribute without its backslash ("Sent"): RFC 6154 §2. Empty: none.
type SpecialUse string

// The special uses of the boxes a new account gets.
const (
	Drafts  SpecialUse = "Drafts"
	Sent    SpecialUse = "Sent"
	Archive SpecialUse = "Archive"
	Junk    SpecialUse = "Junk"
	Trash   SpecialUse = "Trash"
)

// DefaultBoxes are the boxes a new account gets beside Inbox, all subscribed.
func DefaultBoxes() []CreateBox {
	return []CreateBox{
		{Name: "Archive", Special: Archive},
		{Name: "Drafts", Special: Drafts},
		{Name: "Junk", Special: Junk},
		{Name: "Sent", Special: Sent},
		{Name: "Trash", Special: Trash},
	}
}

// Flags is a set of a message's flags: the system flags, and from bit FirstKeyword on the keywords of its box (Snapshot.Keywords).
type Flags uint64

// The system flags of RFC 9051 §2.3.2.
const (
	Answered Flags = 1 << iota
	Flagged
	Deleted
	Seen
	Draft
)

// FirstKeyword is the bit of a box's first keyword.
const FirstKeyword = 5

// Keywords are all flags but the system flags.
const Keywords = ^Flags(1<<FirstKeyword - 1)

// Marks names flags independently of a box: system flags as bits, keywords by name (compared without case, kept as first given).
type Marks struct {
	System   Flags
	Keywords []string
}

// Message is one message of a Snapshot: small and without pointers, since a box may have a million.
type Message struct {
	Blob     BlobID
	Flags    Flags
	ModSeq   ModSeq
	Size     int64 // octets
	Internal int64 // INTERNALDATE, seconds since 1970
	Saved    int64 // SAVEDATE (RFC 8514), seconds since 1970
	UID      UID
	Zone     int16 // of INTERNALDATE, minutes east of UTC
}

// InternalDate is INTERNALDATE in its zone.
func (m *Message) InternalDate() time.Time {
	return time.Unix(m.Internal, 0).In(time.FixedZone("", int(m.Zone)*60))
}

// FactSet says which Facts are wanted; the others may be missing.
type FactSet uint8

// Members of a FactSet.
const (
	WantEnvelope FactSet = 1 << iota
	WantBody
	WantBodyStructure
	WantHeader
	WantParts
	WantKeys
	WantTexts
	WantOctets
)

// Facts is what Stage learnt of a content once and for all. Envelope, Body and BodyStructure are in the parenthesized form of
// RFC 9051 §7.5.2 (see mail/mime), ready to send.
type Facts struct {
	Blob          BlobID
	Size          int64
	Envelope      []byte
	Body          []byte
	BodyStructure []byte
	Header        []byte // the whole header with its empty line; nil if over MaxCachedHeader: Open has it
	Octets        []byte // the whole message; nil if it is of more than one chunk: Open has it
	Parts         *mime.Part
	// Keys and Texts are nil if the content was staged before there were any, or its header is over MaxCachedHeader (for Texts, its fields
	// over mime.MaxTexts): Open has it.
	Keys  *mime.Keys
	Texts *mime.Texts
}

// Mutation is one change, as a value.
type Mutation interface{ mutation() }

// The mutations. A UIDSet may name UIDs that are gone; they are passed over.
type (
	// CreateBox makes a box and the levels above it that are missing.
	CreateBox struct {
		Name    string
		Special SpecialUse
	}
	// RenameBox renames a box with everything below it. Renaming Inbox moves its messages to a new box (RFC 9051 §6.3.6).
	RenameBox struct{ From, To string }
	// DeleteBox removes a box and its messages. A box with children stays as a level without messages.
	DeleteBox struct{ Name string }
	// Subscribe adds a name to the subscriptions.
	Subscribe struct{ Name string }
	// Unsubscribe takes it away.
	Unsubscribe struct{ Name string }
	// Add files staged content in a box.
	Add struct {
		Box      BoxID
		Blob     BlobID
		Marks    Marks
		Internal time.Time // zero: now
		// Key makes it idempotent: a second Add with a key used in the last 30 days changes nothing. Empty: none.
		Key string
		// Unless names a message by its As: if the box holds one that was filed as that in the last 30 days, nothing is added, and that
		// one gets the marks too. Empty: none.
		Unless string
		// As is the name for an Unless. Empty: none.
		As string
		// UIDL is the message's name for POP3, where an import brings one; it goes with the message, and no copy has it. One that is not
		// well-formed, or that another message of the box has or will have (see Box.UIDL), is not kept. Empty: Box.UIDL.
		UIDL string
	}
	// SetFlags changes flags.
	SetFlags struct {
		Box            BoxID
		UIDs           UIDSet
		Op             FlagOp
		Marks          Marks
		UnchangedSince ModSeq // messages changed after it are left and named in Result.Modified; 0: no condition
		Keep           Flags  // are left as they are, whatever Op and Marks say
	}
	// Copy copies messages, flags and dates with them, and who else has seen them.
	Copy struct {
		From    BoxID
		UIDs    UIDSet
		To      BoxID
		Without Flags // that copies do not get
	}
	// Move moves messages.
	Move struct {
		From    BoxID
		UIDs    UIDSet
		To      BoxID
		Without Flags
	}
	// Within is no change: with it ErrOverQuota refuses all changes that leave the account with more than that, and with more than it
	// had. A zero field is no bound.
	Within struct{ Octets, Messages int64 }
	// Expunge removes those of the messages that have Deleted.
	Expunge struct {
		Box  BoxID
		UIDs UIDSet
	}
)

func (CreateBox) mutation()   {}
func (RenameBox) mutation()   {}
func (DeleteBox) mutation()   {}
func (Subscribe) mutation()   {}
func (Unsubscribe) mutation() {}
func (Add) mutation()         {}
func (SetFlags) mutation()    {}
func (Copy) mutation()        {}
func (Move) mutation()        {}
func (Expunge) mutation()     {}
func (Within) mutation()      {}

// FlagOp is how SetFlags changes flags.
type FlagOp uint8

// The operations.
const (
	AddFlags FlagOp = iota
	RemoveFlags
	ReplaceFlags
)

// Applied is what an Apply did.
type Applied struct {
	ModSeq  ModSeq   // the account's, after it
	Results []Result // one for each mutation
}

// Result is what one mutation did.
type Result struct {
	Box         Box    // of CreateBox: the new box; of Restore: the one the messages went to
	UIDValidity uint32 // of Add, Copy, Move, Restore: of the box the messages went to
	Source      UIDSet // of Copy, Move, Expunge, Restore, SetFlags: the messages it was done to (by SetFlags: even if they had the flags)
	UIDs        UIDSet // of Add, Copy, Move, Restore: the new UIDs, in the order of Source
	Modified    UIDSet // of SetFlags: those UnchangedSince excluded
	Duplicate   bool   // of Add: its Key was there already, or its Unless, which UIDs names
}

// ObjectID is the box's MAILBOXID: RFC 8474 §4. IDs of different accounts coincide, so those of others have their owner in them.
func (b *Box) ObjectID() string { return "F" + strconv.FormatInt(int64(b.ID), 36) + b.idSuffix() }

// EmailID is the EMAILID that all copies of a content in the account share: RFC 8474 §5.1.
func (b *Box) EmailID(id BlobID) string { return "M" + strconv.FormatInt(int64(id), 36) + b.idSuffix() }

func (b *Box) idSuffix() string {
	if b.Owner == "" {
		return ""
	}
	return "-" + string(b.Owner)
}
