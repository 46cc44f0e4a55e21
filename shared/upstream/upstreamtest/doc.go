// Package upstreamtest has fakes of the Anthropic and the OpenAI API, of Amazon
// Bedrock, of Amazon Q and of AWS's token service, for tests and benchmarks. They speak the protocols exactly enough for the official
// SDKs, record what they receive, and can be scripted to fail in every way a
// real upstream fails.
//
//	up := upstreamtest.NewAnthropic(t)
//	up.Queue(
//		upstreamtest.RateLimited(2*time.Second),
//		upstreamtest.Reply(upstreamtest.Text("Hel", "lo")).Cut(upstreamtest.AfterDeltas(1), upstreamtest.EndReset),
//	)
//	up.Default(upstreamtest.Reply(upstreamtest.Text("Hello")).Usage(upstreamtest.Usage{Input: 10, Output: 2}))
//
// A [Behaviour] says how one valid request for a reply is answered, in the form
// of the API and path that it was sent to; it is an immutable value whose
// methods return changed copies. Requests that the real API would refuse (no
// credential, no version header, a body that lacks max_tokens, a field that
// another API has) are refused in its words and take nothing from the queue.
//
// Pauses and silences end when the client leaves or the fake is closed.
//
// The package has more than 1,500 lines because every way to fail is one, and
// the fakes must not share the gateway's own idea of the wire.
package upstreamtest
