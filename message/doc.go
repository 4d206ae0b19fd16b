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
// A part's content is then read from wherever the message is kept, through DecodeBody and DecodeCharset.
//
// Promises. Parsing never fails: any sequence of octets is a message, broken ones give the structure that most
// readers would see. No message is held in memory: only header blocks are kept, up to Limits. What comes from
// outside costs time proportional to its size. Nothing here keeps state between calls; a Parser belongs to one
// goroutine, a finished Part may be read by many.
package message
