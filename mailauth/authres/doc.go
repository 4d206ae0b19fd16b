// Package authres writes and reads Authentication-Results fields (RFC 8601) and finds those that somebody forged in our
// name.
//
//	f := authres.Results{ID: "mx.example.org", Methods: []authres.Method{{Name: "spf", Result: "pass",
//		Properties: []authres.Property{{Type: "smtp", Name: "mailfrom", Value: "a@example.com"}}}}}
//	tx.Trace(f.Field())
//
//	w := authres.NewFilter(next, "mx.example.org") // takes forged fields out of a message that streams through
//
// Promises. Reading never fails and never panics: what makes no sense is left out and Broken is set. Nothing that is put
// into a Method can end the field or begin another method. A Filter holds at most MaxOctets of the message.
package authres

// Limits.
const (
	MaxOctets     = 32 << 10 // of a field that is read; the rest is not looked at
	MaxMethods    = 100      // of one field
	MaxProperties = 50       // of one method
	MaxValue      = 1 << 10  // octets of one value that is written
)

// FieldName is the name of the field.
const FieldName = "Authentication-Results"

// Results is one field (RFC 8601 section 2.2). Without Methods it says "none": nothing was checked.
type Results struct {
	ID      string // authserv-id: who says so
	Version string // "" or "1"
	Methods []Method
	Broken  bool // something in the field made no sense and is missing here
}

// Method is what one method found.
type Method struct {
	Name       string // "spf", "dkim", "dmarc", "arc", ...
	Version    string // of the method; "" is 1
	Result     string // "pass", "fail", ... (section 2.7)
	Reason     string
	Comment    string // for people, after the result
	Properties []Property
}

// Property says what was checked: smtp.mailfrom=a@example.com.
type Property struct{ Type, Name, Value string }

// Get returns the value of the property, such as Get("header", "d"); "" if it is not there.
func (m Method) Get(ptype, name string) string {
	for _, p := range m.Properties {
		if equalFold(p.Type, ptype) && equalFold(p.Name, name) {
			return p.Value
		}
	}
	return ""
}
