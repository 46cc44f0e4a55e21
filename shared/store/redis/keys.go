package redis

import (
	"strings"

	"sluice/shared/store"
	"sluice/shared/store/internal/usage"
)

// keys names the keys of the layout that the package comment describes.
type keys struct{ prefix string }

// tagEscaper keeps an account's id from ending its hash tag early.
var tagEscaper = strings.NewReplacer("%", "%25", "{", "%7B", "}", "%7D")

// tag begins all keys of an account.
func (k keys) tag(account string) string {
	return k.prefix + "{a:" + tagEscaper.Replace(account) + "}:"
}

// home is the account whose tag a document's keys carry.
func home(kind, id, account string) string {
	if kind == store.KindAccount {
		return id
	}
	return account
}

func (k keys) index(name string) string            { return k.prefix + "{i}:" + name }
func (k keys) ids(kind string) string              { return k.index("n:" + kind) }
func (k keys) uniques(kind string) string          { return k.index("u:" + kind) }
func (k keys) all(kind string) string              { return k.index("l:" + kind) }
func (k keys) claims() string                      { return k.index("s") }
func (k keys) expiring() string                    { return k.index("x") }
func (k keys) accounts() string                    { return k.index("a") }
func (k keys) counter(name string) string          { return k.index("k:" + name) }
func (k keys) schema() string                      { return k.index("schema") }
func (k keys) lease(name string) string            { return k.prefix + "{l:" + tagEscaper.Replace(name) + "}" }
func (k keys) generation(account string) string    { return k.tag(account) + "g" }
func (k keys) list(account, kind string) string    { return k.tag(account) + "l:" + kind }
func (k keys) doc(account, kind, id string) string { return k.tag(account) + "d:" + kind + ":" + id }

// subject names what Admit and Settle keep for a document.
func (k keys) subject(account, kind, id string) (hash, leases, held string) {
	t, name := k.tag(account), kind+":"+id
	return t + "h:" + name, t + "z:" + name, t + "y:" + name
}

func (k keys) record(account, id string) string { return k.tag(account) + "r:" + id }
func (k keys) records(account string) string    { return k.tag(account) + "ri" }
func (k keys) lastUses(account string) string   { return k.tag(account) + "ru" }
func (k keys) closed(account string) string     { return k.tag(account) + "rc" }
func (k keys) hours(account string) string      { return k.tag(account) + "sh" }
func (k keys) sums(account, hour string) string { return k.tag(account) + "s:" + hour }

func (k keys) costs(account, hour string) string { return k.tag(account) + "c:" + hour }
func (k keys) costed(account string) string      { return k.tag(account) + "ch" }

func (k keys) marks(account string) string    { return k.tag(account) + "rm" }
func (k keys) days(account string) string     { return k.tag(account) + "el" }
func (k keys) appended(account string) string { return k.tag(account) + "wl" }

func (k keys) whole(account string, kind usage.Kind, hour string) string {
	return k.tag(account) + "w" + kindTexts[kind:kind+1] + ":" + hour
}

func (k keys) daySums(account string, kind usage.Kind, day string) string {
	return k.tag(account) + "e" + kindTexts[kind:kind+1] + ":" + day
}

// kindTexts are the numbers of the kinds.
const kindTexts = "01234"

// kinds are the keys of one hour or day by each kind.
func (k keys) kinds(of func(account string, kind usage.Kind, name string) string, account, name string) []string {
	out := make([]string, usage.Kinds)
	for kind := range usage.Kinds {
		out[kind] = of(account, kind, name)
	}
	return out
}

// docKeys are the keys of the scripts that change a document.
func (k keys) docKeys(account, kind, id string) []string {
	out := []string{k.doc(account, kind, id), k.list(account, kind)}
	if store.Generational(kind) {
		h, z, y := k.subject(account, kind, id)
		out = append(out, k.generation(account), h, z, y)
	}
	return out
}
