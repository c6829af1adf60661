// Package archtest holds the rules of the house and checks the source tree against
// them, from the syntax alone: nothing is compiled, so it takes milliseconds and
// works while packages are half built.
//
// A room is a top-level folder with one concern (ingest, teacher, student, eval,
// store, internal, cmd). [Check] reports every [Violation] of the table of rooms
// and of a few habits that reviews should not have to repeat.
package archtest
