// Package compat knows what of Anthropic's Messages API the nodes of Amazon Bedrock refuse, and edits requests so that clients
// written for Anthropic work there: beta flags, fields of the body and tools of Anthropic's. Bedrock answers 400 to a whole
// request for one flag or field that it does not know, so a client that is a week newer than Bedrock would not work at all.
//
// What is known stands in table.json, one row a line, with the evidence of each. An operator lays rows of the same form over
// it with [Parse].
//
// # Storing an operator's rows
//
// They are one document of at most MaxDocument bytes. The route that lists rows answers with [Table.MarshalJSON], which has the
// built-in ones, too. The one that sets them gives what it got to Parse, answers 400 with its error, and stores
// [Table.Overrides]. Every process parses the stored document when it changes and swaps its pointer: a table never changes.
//
// # Which row holds
//
// Of the rows that match a flag, field or tool, the most specific one: first by model, then by route, then by name, where a
// pattern without a star is more specific than any with one, and of two with stars the one with more other characters; then the
// one with more conditions. Of equals the later row holds, the operator's after the built-in ones. An operator's row with the
// route, model, kind, name and conditions of a built-in row takes its place. Flags that no row names are left out, fields and
// tools that no row names pass.
//
// A row whose conditions do not hold is passed over for the next; one that is excepted by a flag ([Row].Unless) says that
// nothing happens. Conditions read the body as the client sent it.
//
// # Fields that go elsewhere
//
// A field that is renamed within its object keeps its bytes. One that goes to another object is taken out with what was edited
// in it, and put in front of what that object has; objects that are missing on the way are made. Of the new place and of those
// that lead to it the rows hold, too: a field goes nowhere where it would be dropped or refused. The client's own goes before
// it, and of two that go to one place, the first. It is not renamed again, and rows below the new path do not see into it.
// A null, which Anthropic's API takes for no value, moves nothing and is left out; one of the client's at the new place, or in
// place of an object on the way there, makes room.
//
// # What it costs
//
// [Table.Apply] goes over the body once, without decoding it, and only into those values that have rows. A condition on another
// field looks for it once for each object, as a field that goes elsewhere does for its new place, however often a client sends
// it; a request that is refused is not looked at any further. Where nothing applies it allocates nothing.
//
// The package has more than 1,500 lines because the form of a row, the check of it and the one walk that applies all rows
// change together.
package compat
