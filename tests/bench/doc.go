// Command bench measures the gateway under load and prints it next to two
// yardsticks, a bare httputil.ReverseProxy and nginx, all in front of the same
// fake upstream and in one run:
//
//	go run ./tests/bench            # everything, a few minutes
//	go run ./tests/bench -quick     # everything, in a minute or so
//	go run ./tests/bench -only a,b -targets reverseproxy,gateway -rounds 9
//
// Every server under test is a process of its own on a loopback port, started
// anew for each scenario. Loads alternate between the targets round by round,
// so that whatever else the machine does meets all of them. The CPU time is
// the operating system's, user and system, of the process under test alone;
// what the client and the fake upstream burn is not counted, though on a small
// machine it bounds the requests per second. Work that a target does after its
// answers (writing usage, collecting garbage) is counted as well: its clock is
// read at the earliest [tail] after the last answer.
//
// The scenarios: (a) small requests, (b) streams as fast as they can be sent,
// (c1) and (c2) bodies of 1 MiB, (d) the memory of 2,000 open streams, (e) the
// latency added at 100 requests a second, (f) to (i) streams that are translated
// and, only if asked for, (p) streams at the pace of a model. In (b) and (f) to
// (i) a slow target reads several events at once and is so spared some work; in
// (p) each event comes alone.
//
// The yardstick of (f) to (i) is the gateway itself: a second process of it
// passes the very stream that the first one translates on to a client of the
// upstream's own API. So the ratio is the price of the translation alone. In (i), whose upstream is
// Amazon Q, it passes the same deltas of a Messages upstream on.
//
// The gateway runs with its embedded database, authentication, limits and
// usage on. A missed target is printed and is no failure: the exit code is 1
// only if something did not work, such as an answer that is not byte for byte
// as long as the upstream's or, translated, as its first one was.
package main
