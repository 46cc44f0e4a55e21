// Package dynamodb keeps a store in one DynamoDB table (on demand, string keys PK and SK, TTL on the attribute ttl, no
// index). It is the store for functions: nothing in it needs a connection that lives, a lock or a process that stays.
//
// # Layout and access patterns
//
// Every read is strongly consistent and by key. There is no index because an index is only eventually consistent: an
// instance that saw a new generation and then listed old nodes would keep them until the next edit; and each write of a
// counter would be copied.
//
//	PK                          SK                    what, and which call reads it
//	D#kind#id                   D                     a document: a account, v version, u look-up strings, x expiry, b body       Get, Replace
//	D#kind#id                   C#token#0000...       the body of a document over 350 KB, in pieces under one token               Get
//	U#kind#string               U                     look-up string -> id                                                        Find
//	L#kind#account              id                    a document of an account exists                                             List(account)
//	L#kind or L#kind##0..15     id                    a document of the kind exists; 16 shards where traffic makes documents      List("")
//	N#counter                   N                     n                                                                           Next
//	G#account                   G                     n, the generation                                                           Generation
//	H#kind#id                   H                     the hot item of a key, account or node; see below                           Admit, Settle, Renew, Raise
//	T#name                      T                     a lease: h holder, u end, f fence; stays for ever because the fence rises   Acquire
//	R#account#day#0..3          end#request           a usage record                                                              Records, open hours of Sums
//	Y#account                   hour                  the hour has records: s sums, c what they include, l late records,          Sums, Records
//	                                                  m1 to m4 the sums by account, key, node and model that go with c = mc;
//	                                                  g what they were made of may be gone: late records are added to s
//	Z#account                   day                   likewise for a day of UTC; g as above                                       Sums
//	X                           day#account           the day has records of the account                                          Records of all accounts
//	A                           account               the account has records                                                     Sums of all accounts
//	P                           hour#account          sums to write                                                               Rollup
//	PD                          day#account           likewise for days                                                           Rollup
//	K                           K                     what may be gone: r records and h sums of hours before; p, q removed before Sums, Retain
//	Q#request#kind#id           Q                     receipt of a settlement that came after its lease ended                     Settle
//	S                           S                     the schema: v version, c oldest compatible one                              Open, Ping
//
// The sums of an hour are always written, also where it has no records, because nothing that is not summed up is removed.
// Some thousands of keys, nodes and models together fit an item. Beyond, the models that cost least are one, "(other)", and
// where that is not enough nodes, then keys: what is told apart is less, all together is exact. A day that does not fit is
// added up from its hours and gets such sums before they go.
//
// A document changes in one transaction with its look-up strings, its entries in lists, its hot item and its account's
// generation; a change of a body alone is a plain conditional update. Expired documents, their look-up strings, entries
// and pieces are removed by the table's TTL, which costs nothing, so Purge has nothing to do; readers check expiry.
//
// # Hot items
//
// A hot item holds the version of its document (v), the two token buckets (ra requests, ta tokens: microseconds at which
// each is full again), requests of the day (rd<day>), money of the day and month, spent and reserved in one number
// (ud<day>, um<month>), how often that was raised to what the records say (mr), and the leases of requests in flight (lz:
// request id -> end.tokens.micro-USD.day.month in base 36). Periods are in the names, so that a new day needs neither a
// reset nor another form of the update.
//
// Admit is one conditional update per limited subject, all in parallel, whose thresholds are worked out here: what must
// hold is the condition, so a wrong picture of the item can refuse and be corrected from the answer (ALL_OLD), never
// admit. What refused within a minute is asked first and alone; what was taken of one subject while the other refused is
// given back by one more call; a refusal is repeated from memory for up to a second. A subject without limits costs one
// consistent read of its version (an eighth of the price of a write). An update has no max(), so a token bucket has two
// forms: for one that is in use (add to it) and one that is full (set it); the first may lag 2 s behind the clock.
// Leases that ended are removed by the next update of the item, which gives back what they held.
//
// Settle removes the lease and puts what was used in its place; the lease is what makes it happen once. A lease that is
// gone while the record is new belongs to a request that outlived it: then a transaction of receipt and counter takes
// all. A call that failed half-way is remembered by this instance until it is repeated. When the process died in between,
// and another repeats the call, the record is exact and so is the counter while the lease lives; after that the counter
// may have the request twice (the lease was ended, the record was not stored) or not at all (the other way round).
//
// # Contention
//
// Hot items are not sharded: a limit is exact because one item decides it, and n shards would each enforce a part and
// refuse while others have room. One item takes 1,000 write units a second: about 500 requests a second of one key or
// limited account with few in flight, about 300 leases at once, because each write pays for the
// whole item. Transactions conflict with plain updates of one item, so the hot path has none; an edit of a key that is
// under load is repeated until it finds a gap. Above that, use Redis. Usage records are spread over 4 partitions by
// request id (4,000 a second of one account), because nothing has to be decided over them; other keys are spread by
// nature.
//
// Clocks: an instance whose clock is proven wrong by the Date header of answers is corrected.
//
// The package has more than 1,500 lines because it offers the whole contract over an interface that has no transactions
// worth having and no aggregation: documents, admission and usage share the calls, the keys and the errors.
package dynamodb
