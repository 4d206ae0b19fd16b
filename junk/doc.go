// Package junk tells wanted mail from unwanted by its words, once it was shown enough of both. It is a library: it takes a
// message to pieces and weighs them, and knows nothing of where counts are kept.
//
//	t := junk.NewTokenizer(junk.Limits{Key: key})
//	io.Copy(t, content)
//	tokens := t.Close()
//	v := junk.Classify(tokens, own, shared) // Knowledge: how often each token was in wanted and unwanted mail
//	if v.Known && v.Score > 0.99 { ... v.Reasons says why }
//
// A token is a keyed hash of a word, of two neighbouring words, of a piece of a text whose language does not part words, of
// a host in a link, of the name and type of an attachment, or of how the message is built. Classify combines the
// likelihoods of the strongest by Fisher's method, as SpamBayes and bogofilter do (G. Robinson, "A Statistical Approach to the
// Spam Problem", 2003). What one account learned outweighs what all accounts learned together, word by word.
//
// Promises. Any sequence of octets is a message, and gives the same tokens however it is cut into Writes. Fields that hosts
// add on the way (Received, Return-Path, Authentication-Results and the like) are no tokens, so that a message taken from a folder
// gives those that it gave when it came. Tokens, memory and time of a message are bounded by Limits; the message is never
// held. A Tokenizer belongs to one goroutine; Classify keeps nothing.
package junk
