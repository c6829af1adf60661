package main

import (
	"strconv"
	"testing"
)

// killsOfAttack is how often the long form kills each verb.
const killsOfAttack = 30

// kills are the tests of kills with more of them: what is left is finished by the same command,
// and is byte for byte what it would have been.
func (a *attack) kills() {
	a.t.Setenv("PIPE_KILLS", strconv.Itoa(killsOfAttack))
	for _, k := range []struct {
		name string
		test func(*testing.T)
	}{
		{"ingest", TestKilledIngest}, {"ingest, all faces", TestKilledIngestOfAllFaces}, {"ingest into a dataset", TestKilledAppend},
		{"precompute-teacher", TestKilledPrecompute}, {"precompute-teacher --reuse", TestKilledReuse}, {"merge", TestKilledMerge},
		{"merge --plan", TestKilledPlanMerge}, {"index rebuild", TestKilledIndexRebuild}, {"export", TestKilledExport},
		{"teachers classifier", TestKilledClassifier}, {"distill", TestKilledDistill},
	} {
		before := struckInAll.Load()
		same := a.t.Run("killed "+k.name, k.test)
		struck := int(struckInAll.Load() - before)
		a.mu.Lock()
		r := a.row("kill: " + k.name)
		r.tried += struck
		if same {
			r.unharmed += struck
		} else {
			r.bad[lost]++
		}
		a.mu.Unlock()
	}
}
