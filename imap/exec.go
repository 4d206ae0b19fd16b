package imap

import "context"

// Sets of states in which commands are allowed.
const (
	inAny  = stateNot | stateAuth | stateSelected
	inAuth = stateAuth | stateSelected
)

// statesOf returns the states in which a command may be used (RFC 9051 section 6); 0: there is no such command.
func (c *conn) statesOf(verb string) state {
	switch verb {
	case "CAPABILITY", "NOOP", "LOGOUT", "ID", "LANGUAGE":
		return inAny
	case "STARTTLS", "LOGIN", "AUTHENTICATE":
		return stateNot
	case "ENABLE", "SELECT", "EXAMINE", "CREATE", "DELETE", "RENAME", "SUBSCRIBE", "UNSUBSCRIBE", "LIST", "LSUB",
		"NAMESPACE", "STATUS", "APPEND", "IDLE", "COMPRESS", "UNAUTHENTICATE",
		"GETQUOTA", "GETQUOTAROOT", "SETQUOTA", "GETACL", "SETACL", "DELETEACL", "LISTRIGHTS", "MYRIGHTS", "GETMETADATA", "SETMETADATA",
		"ESEARCH", "NOTIFY", "GENURLAUTH", "URLFETCH", "RESETKEY":
		return inAuth
	case "CHECK", "CLOSE", "UNSELECT", "EXPUNGE", "SEARCH", "FETCH", "STORE", "COPY", "MOVE",
		"REPLACE", "UID REPLACE", "CANCELUPDATE", "SORT", "THREAD", "UID SORT", "UID THREAD", "UID EXPUNGE", "UID SEARCH", "UID FETCH", "UID STORE", "UID COPY", "UID MOVE":
		return stateSelected
	}
	return 0
}

// allowed says whether a command exists and may be used in the state the session is in.
func (c *conn) allowed(verb string) error {
	in := c.statesOf(verb)
	switch {
	case in == 0:
		return bad("there is no command %s", clip(verb))
	case in&c.state != 0:
		return nil
	case c.state == stateNot:
		return bad("log in first")
	case in == stateNot:
		return bad("you are logged in already")
	}
	return bad("select a mailbox first")
}

// takesMessage tells the commands whose messages are not read into memory.
func takesMessage(verb string) bool {
	return verb == "APPEND" || verb == "REPLACE" || verb == "UID REPLACE"
}

// exec runs a command. It may set code and text of the OK.
func (c *conn) exec(ctx context.Context, verb string, p *parser) error {
	switch verb {
	case "CAPABILITY", "NOOP", "CHECK", "LOGOUT", "CLOSE", "UNSELECT", "NAMESPACE", "STARTTLS", "IDLE", "EXPUNGE",
		"UNAUTHENTICATE":
		if err := p.end(); err != nil {
			return err
		}
		return c.execPlain(ctx, verb)
	}
	switch verb {
	case "LANGUAGE":
		return c.cmdLanguage(p)
	case "RESETKEY":
		return c.cmdResetKey(ctx, p)
	}
	if err := p.sp(); err != nil {
		return bad("%s needs an argument", verb)
	}
	switch verb {
	case "ID":
		return c.cmdID(p)
	case "LOGIN":
		return c.cmdLogin(ctx, p)
	case "AUTHENTICATE":
		return c.cmdAuthenticate(ctx, p)
	case "ENABLE":
		return c.cmdEnable(p)
	case "SELECT", "EXAMINE":
		return c.cmdSelect(ctx, p, verb == "EXAMINE")
	case "CREATE":
		return c.cmdCreate(ctx, p)
	case "DELETE", "SUBSCRIBE", "UNSUBSCRIBE":
		return c.cmdName(ctx, p, verb)
	case "RENAME":
		return c.cmdRename(ctx, p)
	case "LIST":
		return c.cmdList(ctx, p)
	case "LSUB":
		return c.cmdLsub(ctx, p)
	case "STATUS":
		return c.cmdStatus(ctx, p)
	case "APPEND":
		return c.cmdAppend(ctx, p)
	case "NOTIFY":
		return c.cmdNotify(ctx, p)
	case "GENURLAUTH":
		return c.cmdGenURLAuth(ctx, p)
	case "URLFETCH":
		return c.cmdURLFetch(ctx, p)
	case "ESEARCH":
		return c.cmdESearch(ctx, p)
	case "COMPRESS":
		return c.cmdCompress(p)
	case "GETQUOTA", "GETQUOTAROOT", "SETQUOTA":
		return c.cmdQuota(ctx, p, verb)
	case "GETACL", "SETACL", "DELETEACL", "LISTRIGHTS", "MYRIGHTS":
		return c.cmdACL(ctx, p, verb)
	case "GETMETADATA":
		return c.cmdGetMetadata(ctx, p)
	case "SETMETADATA":
		return c.cmdSetMetadata(ctx, p)
	}
	return c.execSelected(ctx, verb, p)
}

func (c *conn) execPlain(ctx context.Context, verb string) error {
	switch verb {
	case "CAPABILITY":
		c.say("* CAPABILITY ", c.capabilities())
	case "LOGOUT":
		c.say("* BYE logging out")
		c.unselect()
		c.state = stateLogout
	case "CLOSE":
		return c.cmdClose(ctx)
	case "UNSELECT":
		c.unselect()
	case "NAMESPACE":
		c.tellNamespace()
	case "STARTTLS":
		return c.cmdStartTLS(ctx)
	case "IDLE":
		return c.cmdIdle()
	case "UNAUTHENTICATE":
		return c.cmdUnauthenticate(ctx)
	case "EXPUNGE":
		return c.cmdExpunge(ctx, nil)
	}
	return nil // NOOP and CHECK: what is new is told before the OK
}

func (c *conn) execSelected(ctx context.Context, verb string, p *parser) error {
	uid := len(verb) > 4 && verb[:4] == "UID "
	if uid {
		verb = verb[4:]
	}
	switch verb {
	case "SEARCH", "SORT", "THREAD": // the other commands refuse the numbers themselves
		if !uid && c.mode&modeUIDOnly != 0 {
			return errUIDRequired
		}
	}
	switch verb {
	case "EXPUNGE":
		return c.cmdUIDExpunge(ctx, p)
	case "CANCELUPDATE":
		return c.cmdCancelUpdate(p)
	case "SEARCH":
		return c.cmdSearch(ctx, p, uid)
	case "REPLACE":
		return c.cmdReplace(ctx, p, uid)
	case "SORT":
		return c.cmdSort(ctx, p, uid)
	case "THREAD":
		return c.cmdThread(ctx, p, uid)
	case "FETCH":
		return c.cmdFetch(ctx, p, uid)
	case "STORE":
		return c.cmdStore(ctx, p, uid)
	}
	return c.cmdCopy(ctx, p, uid, verb == "MOVE")
}
