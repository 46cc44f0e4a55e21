package adminapi

import (
	"net/http"

	"sluice/shared/audit"
	"sluice/shared/core"
	"sluice/shared/store"
)

// endSessions signs the caller out everywhere: it ends each browser session that was opened with what the caller shows, the
// caller's own session, too. Of an account's password that is each session of the account, those of its keys among them: who
// has the password may make and end those keys. Of a key it is that key's, of ADMIN_API_KEY and of commands on this machine it
// is ADMIN_API_KEY's. An administrator may name an account, whose sessions of password and keys end. Who signs in meanwhile
// stays signed in.
func (c *call) endSessions() error {
	account, err := c.target()
	if err != nil {
		return err
	}
	named := c.r.URL.Query().Get("account_id") != ""
	if named && c.who.actor.Kind != audit.ActorPassword && !c.who.admin {
		return core.E(core.CodeForbidden, "a key may end the sessions opened with it alone; leave account_id out")
	}
	ctx, sessions := c.r.Context(), c.a.o.Tables.Sessions
	rows, err := sessions.All(ctx, account)
	if err != nil {
		return err
	}
	ended := 0
	for i := range rows {
		s := &rows[i].Value
		if !c.opened(s, named) {
			continue
		}
		switch err := sessions.Delete(ctx, s.ID); {
		case err == nil:
			ended++
		case !store.Missing(err):
			return err
		}
	}
	if _, err := c.r.Cookie(sessionCookie); err == nil {
		if _, err := c.a.bySession(c.r); err != nil { // it was one of them
			http.SetCookie(c.w, c.a.cookie(c.r, "", -1))
		}
	}
	return c.ok(map[string]int{"ended": ended})
}

// opened reports whether a session of the account is one of those that the caller ends.
func (c *call) opened(s *store.Session, named bool) bool {
	switch key := c.who.actor.Key; {
	case named || c.who.person:
		return s.Operator == ""
	case key != "":
		return s.Key == key
	}
	return s.Operator != ""
}
