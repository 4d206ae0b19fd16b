// Package management is the room that the owner of a house speaks to: the verbs, as HTTP with JSON over the control
// socket DIR/run/control.sock. It keeps nothing; it asks the other rooms by the small interfaces below.
//
//	h := management.New(management.Config{Accounts: accounts, Queue: queue, House: house})
//	go (&http.Server{Handler: h}).Serve(controlSocket)
//
//	c := management.Client{HTTP: management.Over(dialControlSocket)} // the server runs
//	c := management.Client{HTTP: management.Direct(h)}               // it does not: the same handler, in this process
//	err := c.Call(ctx, "account/add", management.AccountArgs{Address: "alice@example.org"}, &account)
//
// # The protocol
//
// A verb is POST /v1/NOUN/VERB with a JSON object. The answer is a line of JSON for each thing there is to tell, so
// that no list is ever held in memory:
//
//	{"item":...}                        one element of a list
//	{"progress":{"done":1,"total":2}}   long work goes on
//	{"ok":...}                          the last line of what succeeded
//	{"error":{"kind":...,"thing":...,"cause":...,"remedy":...}}   the last line of what did not
//
// Promises. The Handler is safe for concurrent use; requests are bounded in length and number; a verb answered "ok"
// is on disk. Whoever can open the socket may do everything: it belongs to the user of the house, mode 0600.
package management
