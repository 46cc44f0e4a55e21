package anthropic

import "slices"

// known answers for nodes that do not list their models.
var known = []Model{
	{"claude-fable-5-2", "Claude Fable 5.2"},
	{"claude-fable-5-1", "Claude Fable 5.1"},
	{"claude-opus-5-5", "Claude Opus 5.5"},
	{"claude-opus-5", "Claude Opus 5"},
	{"claude-sonnet-5-5", "Claude Sonnet 5.5"},
	{"claude-sonnet-5", "Claude Sonnet 5"},
	{"claude-haiku-5-5", "Claude Haiku 5.5"},
	{"claude-opus-4-8", "Claude Opus 4.8"},
	{"claude-opus-4-7", "Claude Opus 4.7"},
	{"claude-opus-4-6", "Claude Opus 4.6"},
	{"claude-sonnet-4-6", "Claude Sonnet 4.6"},
	{"claude-opus-4-5-20251101", "Claude Opus 4.5"},
	{"claude-sonnet-4-5-20250929", "Claude Sonnet 4.5"},
	{"claude-haiku-4-5-20251001", "Claude Haiku 4.5"},
}

// Model is one that this version knows.
type Model struct{ ID, Name string }

// Known are the models that this version knows, newest line first.
func Known() []Model {
	return slices.Clone(known)
}
