// Command limits shows that the promises about limits hold across processes:
//
//	go run ./tests/limits                       # Redis and DynamoDB Local, three simulated minutes for each promise
//	go run ./tests/limits -store memory -quick  # a short run
//	go run ./tests/limits -store dynamodb -url 'dynamodb://TABLE?region=eu-west-1'   # a real table, which costs money
//	go run ./tests/limits -simulate             # contention of a hot counter, by arithmetic
//
// Processes of this program hammer one key on one store. Time is an argument of the store's calls, so all of them
// follow one simulated clock that runs faster than the real one. Each process tells of every call when it begins and when
// it ends, and only what is certain of those times is held against the store:
//
//   - Requests per minute: over the times that were given to Admit, every window of t seconds has at most L + L*t/60
//     admissions (DynamoDB: 2 s of refill more), and the whole run at least 0.95 of the refill, beside the first L.
//   - Concurrency: a request certainly holds its place from the return of Admit until Settle is called or its lease ends.
//     One process is killed on the way: what it held counts until its lease ends, and then all places are free.
//   - Budget: what was spent and reserved at each admission is within the budget, and what is spent in the end passes it
//     at most by what the requests in flight at the last admission were underestimated.
//   - Usage: every acknowledged record is there once, and totals are the sums of the records, before and after hours are closed.
//
// It also measures the CPU time of this side and, for Redis, of the server for each request. The servers are started when they
// are found and left out, loudly, when not; STORETEST_REQUIRE=redis,dynamodb makes that an error. The exit code is 1
// when a promise is broken; CPU above its target is only printed.
package main
