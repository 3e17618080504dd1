// Package webhook tells an application what becomes of its connections: that one
// is connected, that one has to be authorised again, that one has recovered.
// Messages are signed as Standard Webhooks (https://www.standardwebhooks.com)
// say, so that any of their libraries verifies them.
//
// A store that is a [pleoauth.Outbox] notes each change in the step that makes
// it. A [Worker] in any replica claims a change, waits until the state has lasted
// where it may pass, sends one message and keeps in the store that it was taken.
// If the process ends before that, the claim lapses and another replica sends the
// message again, with the same id. So a message comes once where nothing fails,
// and at least once where something does.
//
// What is told is the state of a connection when the message is sent: states that
// came and went in between are not told.
package webhook
