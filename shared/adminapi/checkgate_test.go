package adminapi_test

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"sluice/shared/core"
)

// TestChecksAtOnce: three accounts with three nodes each that never answered took all eight slots. Now an account has two at
// most, and eight accounts at once get their first.
func TestChecksAtOnce(t *testing.T) {
	p := newPool(t, nil)
	var nodes [9][]string
	for a := range nodes {
		account := fmt.Sprint("acc-", a)
		if _, err := p.tables.Accounts.Create(t.Context(), core.Account{ID: account, Name: account}); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			nodes[a] = append(nodes[a], p.made(account, anthropicNode))
		}
	}
	p.checker.wait, p.checker.begun = make(chan struct{}), make(chan struct{}, 27) // buffered, so that one too many fails the test rather than waits
	var wg sync.WaitGroup
	begin := func(id string) {
		t.Helper()
		over := make(chan struct{})
		wg.Go(func() {
			defer close(over)
			p.call("POST", "/admin/api/nodes/check?id="+id, "", "x-admin-key", poolAdmin)
		})
		select {
		case <-p.checker.begun:
		case <-over:
			t.Errorf("the check of node %s was refused", id)
		}
	}
	refuse := func(id, why string) {
		t.Helper()
		a := p.want(429, "POST", "/admin/api/nodes/check?id="+id, "")
		if n, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || n < 1 || n > 40 {
			t.Errorf("%s: Retry-After %q", why, a.header.Get("Retry-After"))
		}
	}
	for a := range 4 { // greedy ones
		begin(nodes[a][0])
		begin(nodes[a][1])
		refuse(nodes[a][2], "a third of one account")
	}
	for a := 4; a < 8; a++ {
		begin(nodes[a][0])
		if a < 7 {
			refuse(nodes[a][1], "a second one where four slots are left")
		}
	}
	refuse(nodes[8][0], "a thirteenth")
	// a check that does not keep to its time keeps no slot
	p.advance(40 * time.Second)
	begin(nodes[8][0])
	begin(nodes[0][2])
	close(p.checker.wait)
	wg.Wait()
	p.checker.mu.Lock()
	p.checker.wait = nil
	p.checker.mu.Unlock()
	for a := range nodes { // whoever left late took nobody's slot along
		p.advance(5 * time.Second)
		p.want(200, "POST", "/admin/api/nodes/check?id="+nodes[a][1], "")
	}
}
