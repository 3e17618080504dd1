// Package pleoauth keeps authorisations at Pleo alive, for as many customers
// and processes as there are, and hands out their access tokens.
//
// At Pleo every refresh kills the whole previous pair of tokens at once, and a
// refresh token that is spent twice costs the customer's authorisation. So a
// refresh must happen once: across goroutines, processes and machines, and
// whatever crashes, hangs, or loses an answer in the middle of it. [Source]
// does that.
//
//	store, err := redisstore.New(options, pleoauth.Identity{Issuer: …, ClientID: …})
//	keys, err := pleoauth.NewKeyring(os.Getenv("PLEO_ENCRYPTION_KEY"))
//	source, err := pleoauth.NewSource(pleoauth.Config{ClientID: …}, store, keys)
//
//	token, err := source.Token(ctx, "acme")
//	request.Header.Set("Authorization", token.Authorization())
//
// A connection, such as "acme", is a named authorisation: one customer's
// company. A user makes it with [Source.BeginAuthorisation] and
// [Source.CompleteAuthorisation]. After a 401 from the API, [Source.Refused]
// says whether to send the call again, and with which token.
//
// # How a refresh happens once
//
// One flight for each connection in the process; then the connection's lock in
// the store; then the record is read again, and a newer grant simply used. Then
// a mark is stored: from here on a token may be on its way. The token leaves
// once, on a connection of its own that nothing below resends on, and only
// while the mark is fresh. The answer is read to its end, however late, and
// saved conditionally. The lock saves work; safety lies in marks and
// conditions, see writes.go.
//
// A refresh whose answer did not come is settled by asking Pleo, never by
// sending it again: "inactive" may be believed at any time, "active" only once
// the mark is over, by this process's own clock. A pair that cannot be stored
// is held, served, kept on disk and stored later; one that the store has lost
// is put back.
//
// # Stores
//
// [Store] is a small interface: compare and swap of whole records, locks,
// notices. Packages redisstore and certstore implement it, and package
// storetest tests that an implementation is one.
//
// # Testing
//
// Package pleotest emulates Pleo's servers, strictly, and can make anything go
// wrong that goes wrong at real ones.
package pleoauth
