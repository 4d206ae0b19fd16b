// Package message reads and writes Internet messages: RFC 5322 headers and MIME bodies.
//
// The parser finds the structure of a message while it streams past, by offsets, in one pass:
//
//	p := message.NewParser(message.Limits{})
//	io.Copy(p, content)
//	root := p.Close()
//	fmt.Println(root.Type, root.Subtype, root.Header.Text("Subject"))
//	for part := range root.All() {
//		fmt.Println(part.Type, part.BodyStart, part.End)
//	}
//
// A part's content is then read from wherever the message is kept, through DecodeBody and DecodeCharset, or PartText
// for both and without markup. Field values are read by DecodeText, ParseAddressList, ParseDate, ParseMediaType and
// MessageIDs:
//
//	for _, a := range message.ParseAddressList(root.Header.Get("To")) {
//		fmt.Println(a.Name, a.Address)
//	}
//
// A Writer makes messages; a HeaderEditor changes the header of one that streams through it:
//
//	e := message.NewHeaderEditor(w, message.EditOptions{Remove: []string{"Bcc"}})
//	io.Copy(e, content)
//	err := e.Close()
//
// Promises. Parsing never fails: any sequence of octets is a message, broken ones give the structure that most
// readers would see. No message is held in memory: only header blocks are kept, up to Limits. What comes from
// outside costs time proportional to its size. Values written never end their field. Nothing here keeps state between
// calls; a Parser, Writer or HeaderEditor belongs to one goroutine, a finished Part may be read by many.
package message
