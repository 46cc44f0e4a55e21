package cli

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// completeWord is what the scripts call: sluice __complete WORD..., the last word being the one that is written.
const completeWord = "__complete"

// completeTime bounds how long a person waits for ids behind a tab.
const completeTime = 1500 * time.Millisecond

func completionCommands() []command {
	return []command{{words: "completion", args: "bash|zsh|fish", brief: "print a script that completes commands, flags and ids", least: 1, most: 1, setup: completionCommand}}
}

const bashScript = `# completion of sluice for bash: put this into ~/.bashrc
#   source <(sluice completion bash)
_sluice() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("${line%%$'\t'*}")
    done < <("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    if [ "${#COMPREPLY[@]}" -eq 1 ] && [ "${COMPREPLY[0]%=}" != "${COMPREPLY[0]}" ]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -o default -F _sluice sluice
`

const zshScript = `#compdef sluice
# completion of sluice for zsh: put this into a file _sluice in a folder of $fpath, or into ~/.zshrc behind compinit
#   source <(sluice completion zsh)
_sluice() {
    local line tab=$'\t'
    local -a names shown
    while IFS= read -r line; do
        names+=("${line%%${tab}*}")
        shown+=("${line/${tab}/  }")
    done < <("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
    if (( ${#names} )); then
        compadd -l -d shown -a names
    else
        _files
    fi
}
if [ "${funcstack[1]}" = "_sluice" ]; then
    _sluice "$@"
else
    compdef _sluice sluice
fi
`

const fishScript = `# completion of sluice for fish: put this into ~/.config/fish/completions/sluice.fish
function __sluice_complete
    set -l before (commandline -opc)
    set -l now (commandline -ct)
    command $before[1] __complete $before[2..-1] "$now" 2>/dev/null
end
complete -c sluice -f -a '(__sluice_complete)'
`

func completionCommand(*flags) action {
	return func(_ context.Context, s *session, args []string) error {
		script := map[string]string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}[args[0]]
		if script == "" {
			return usageError("unknown shell %q: sluice completion bash, zsh or fish", clean(args[0]))
		}
		_, err := io.WriteString(s.env.Stdout, script)
		return err
	}
}

// suggestion is a word that may stand next.
type suggestion struct{ word, about string }

// complete prints what may stand in the place of the last word, one a line, with what it means behind a tab. It never
// fails: who presses tab wants no message.
func complete(ctx context.Context, env Env, words []string) error {
	words = unsplit(words)
	last := ""
	if len(words) > 0 {
		last, words = words[len(words)-1], words[:len(words)-1]
	}
	for _, s := range suggest(ctx, env, words, last) {
		// a word is put into the line of a shell: one that would do something there is none of ours
		if !strings.HasPrefix(s.word, last) || strings.ContainsAny(s.word, " \t\n$`\\\"'();&|<>*?[]{}!#~") {
			continue
		}
		line := s.word
		if about := clean(s.about); about != "" {
			line += "\t" + about
		}
		if _, err := fmt.Fprintln(env.Stdout, line); err != nil {
			return err
		}
	}
	return nil
}

// unsplit joins what bash splits at an equals sign: --by = model.
func unsplit(words []string) []string {
	var out []string
	for i := 0; i < len(words); i++ {
		if words[i] == "=" && len(out) > 0 && strings.HasPrefix(out[len(out)-1], "--") {
			if i+1 < len(words) {
				i++
				out = append(out, words[i]) // as if there were a space: what is completed is the value
			} else {
				out = append(out, "")
			}
			continue
		}
		out = append(out, words[i])
	}
	return out
}

func suggest(ctx context.Context, env Env, words []string, last string) []suggestion {
	all := commands()
	c, rest := find(all, words)
	if c == nil {
		return firstWords(env, all, words)
	}
	f := newFlags(c)
	c.setup(f)
	if len(rest) > 0 {
		if name, ok := strings.CutPrefix(rest[len(rest)-1], "-"); ok && !strings.Contains(name, "=") {
			if g := f.Lookup(strings.TrimPrefix(name, "-")); g != nil && !isSwitch(g) {
				return values(ctx, env, f, g.Name)
			}
		}
	}
	if name, written, ok := strings.Cut(last, "="); ok && strings.HasPrefix(name, "--") { // shells that do not split
		var out []suggestion
		for _, v := range values(ctx, env, f, strings.TrimLeft(name, "-")) {
			if strings.HasPrefix(v.word, written) {
				out = append(out, suggestion{name + "=" + v.word, v.about})
			}
		}
		return out
	}
	switch {
	case strings.HasPrefix(last, "-"):
		return flagNames(f)
	case c.words == "completion":
		return []suggestion{{"bash", ""}, {"zsh", ""}, {"fish", ""}}
	case c.ids != "":
		return ids(ctx, env, f, c.ids)
	}
	return flagNames(f)
}

// firstWords completes the words of a command, of this package or of the program's other ones.
func firstWords(env Env, all []command, words []string) []suggestion {
	about := map[string]string{}
	for i := range all {
		about[all[i].words] = all[i].brief
	}
	for w, flags := range env.Words {
		if len(words) > 0 && slices.Equal(strings.Fields(w), words) {
			var out []suggestion
			for _, f := range flags {
				out = append(out, suggestion{f, ""})
			}
			return out
		}
		about[w] = ""
	}
	var out []suggestion
	for w, brief := range about {
		parts := strings.Fields(w)
		if len(parts) <= len(words) || !slices.Equal(parts[:len(words)], words) {
			continue
		}
		if len(parts) > len(words)+1 {
			brief = ""
		}
		out = append(out, suggestion{parts[len(words)], brief})
	}
	slices.SortFunc(out, func(a, b suggestion) int { return cmp.Compare(a.word, b.word) })
	return slices.CompactFunc(out, func(a, b suggestion) bool { return a.word == b.word })
}

func isSwitch(g *flag.Flag) bool {
	b, ok := g.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

func flagNames(f *flags) (out []suggestion) {
	f.VisitAll(func(g *flag.Flag) {
		_, usage := flag.UnquoteUsage(g)
		if len(g.Name) > 1 {
			out = append(out, suggestion{"--" + g.Name, usage})
		}
	})
	return out
}

// values completes the value of a flag.
func values(ctx context.Context, env Env, f *flags, name string) (out []suggestion) {
	if what := f.ids[name]; what != "" {
		return ids(ctx, env, f, what)
	}
	for _, v := range f.choices[name] {
		out = append(out, suggestion{v, ""})
	}
	return out
}

// ids asks the gateway, when it can be had at once: the one of SLUICE_URL, or one that runs on this machine.
func ids(ctx context.Context, env Env, f *flags, what string) (out []suggestion) {
	ctx, cancel := context.WithTimeout(ctx, completeTime)
	defer cancel()
	s := &session{env: env, f: f}
	s.env.Stderr = io.Discard
	defer func() { _ = s.close() }()
	if err := s.connect(ctx, NeedQuick); err != nil {
		return nil
	}
	list, err := s.list(ctx, what, "")
	if err != nil {
		return nil
	}
	for _, t := range list {
		if validID(t.ID) {
			out = append(out, suggestion{t.ID, t.Name})
		}
	}
	return out
}
