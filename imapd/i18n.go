package imapd

// i18nLevel is I18NLEVEL=1: strings are compared as i;unicode-casemap does, in SEARCH, SORT and THREAD (RFC 5255 §4.3). See fold and
// mime.Keys.
func i18nLevel() extension { return extension{name: "I18NLEVEL=1", rfc: "RFC 5255"} }
