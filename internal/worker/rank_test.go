package worker

import (
	"strings"
	"testing"
)

func TestParseRank(t *testing.T) {
	torchrun := map[string]string{"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "10.0.0.7", "MASTER_PORT": "4711"}
	slurm := map[string]string{"SLURM_PROCID": "3", "SLURM_NTASKS": "4", "SLURM_LOCALID": "1", "SLURM_STEP_ID": "0",
		"SLURM_JOB_NODELIST": "gpu[03-04]", "SLURM_JOB_ID": "123456"}
	with := func(env map[string]string, changes ...string) map[string]string {
		all := merged(map[string]string{}, env)
		for i := 0; i < len(changes); i += 2 {
			all[changes[i]] = changes[i+1]
		}
		return all
	}
	for name, c := range map[string]struct {
		env  map[string]string
		want Rank
		say  string // of the error
	}{
		"nothing":               {nil, Rank{}, ""},
		"torchrun":              {torchrun, Rank{Worker{5, 8}, 1, "10.0.0.7", 4711}, ""},
		"torchrun of one":       {map[string]string{"RANK": "0", "WORLD_SIZE": "1"}, Rank{}, ""},
		"torchrun before Slurm": {with(slurm, "RANK", "0", "WORLD_SIZE", "2", "MASTER_ADDR", "a", "MASTER_PORT", "1"), Rank{Worker{0, 2}, 0, "a", 1}, ""},
		"without local rank":    {with(torchrun, "LOCAL_RANK", ""), Rank{Worker{5, 8}, 0, "10.0.0.7", 4711}, ""},
		"without port":          {with(torchrun, "MASTER_PORT", ""), Rank{Worker{5, 8}, 1, "10.0.0.7", 29500}, ""},
		"Slurm":                 {slurm, Rank{Worker{3, 4}, 1, "gpu03", 29956}, ""},
		"a step of fewer tasks": {with(slurm, "SLURM_STEP_NUM_TASKS", "6"), Rank{Worker{3, 6}, 1, "gpu03", 29956}, ""},
		"Slurm with a master":   {with(slurm, "MASTER_ADDR", "b", "MASTER_PORT", "9"), Rank{Worker{3, 4}, 1, "b", 9}, ""},
		"a job's script":        {with(slurm, "SLURM_STEP_ID", "", "SLURM_PROCID", "0"), Rank{}, ""},
		"no size":               {with(torchrun, "WORLD_SIZE", ""), Rank{}, "WORLD_SIZE"},
		"beyond the world":      {with(torchrun, "RANK", "8"), Rank{}, "RANK=8 is not below WORLD_SIZE=8"},
		"no master":             {with(torchrun, "MASTER_ADDR", ""), Rank{}, "MASTER_ADDR"},
		"port of a letter":      {with(torchrun, "MASTER_PORT", "x"), Rank{}, "MASTER_PORT"},
		"port too large":        {with(torchrun, "MASTER_PORT", "65536"), Rank{}, "MASTER_PORT"},
		"local rank":            {with(torchrun, "LOCAL_RANK", "-1"), Rank{}, "LOCAL_RANK"},
		"no hosts":              {with(slurm, "SLURM_JOB_NODELIST", "gpu["), Rank{}, "SLURM_JOB_NODELIST"},
		"no job":                {with(slurm, "SLURM_JOB_ID", "a"), Rank{}, "SLURM_JOB_ID"},
	} {
		got, err := ParseRank(func(name string) string { return c.env[name] })
		if got != c.want || (err == nil) != (c.say == "") || err != nil && !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestFirstHost(t *testing.T) {
	for list, want := range map[string]string{
		"node1": "node1", "node1,node2": "node1", "gpu[03-07,9],login": "gpu03", "gpu[3,5]": "gpu3", "gpu[12]": "gpu12",
		"rack[1-2]node[5,8]": "rack1node5", "a[1-2].example.org": "a1.example.org", "10.0.0.1": "10.0.0.1",
		"": "", "gpu[": "", "gpu]": "", "gpu[a-b]": "", "gpu[]": "", ",a": "", "gpu[1-2": "",
	} {
		if got, err := firstHost(list); got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v", list, got, err)
		}
	}
}

func FuzzFirstHost(f *testing.F) {
	for _, list := range []string{"node1", "gpu[03-07,9],login", "rack[1-2]node[5,8]", "a[", "]", "[1]"} {
		f.Add(list)
	}
	f.Fuzz(func(t *testing.T, list string) {
		host, err := firstHost(list)
		if (err == nil) == (host == "") || strings.ContainsAny(host, "[],") {
			t.Errorf("%q: %q, %v", list, host, err)
		}
	})
}
