package worker

import (
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	slurm := func(id, first, step, count string) map[string]string {
		return map[string]string{"SLURM_ARRAY_TASK_ID": id, "SLURM_ARRAY_TASK_MIN": first, "SLURM_ARRAY_TASK_STEP": step, "SLURM_ARRAY_TASK_COUNT": count}
	}
	for name, c := range map[string]struct {
		flag string
		env  map[string]string
		want Worker
		say  string // of the error
	}{
		"flag":                 {"2/5", nil, Worker{2, 5}, ""},
		"flag before all":      {"0/1", slurm("3", "0", "1", "4"), Worker{0, 1}, ""},
		"nothing":              {"auto", nil, Worker{0, 1}, ""},
		"ours":                 {"auto", map[string]string{"PIPE_WORKER": "1", "PIPE_WORKERS": "3"}, Worker{1, 3}, ""},
		"ours before Slurm's":  {"auto", merged(slurm("3", "0", "1", "4"), map[string]string{"PIPE_WORKER": "1", "PIPE_WORKERS": "3"}), Worker{1, 3}, ""},
		"Slurm":                {"auto", slurm("3", "0", "1", "4"), Worker{3, 4}, ""},
		"Slurm from seven":     {"auto", slurm("9", "7", "1", "3"), Worker{2, 3}, ""},
		"Slurm in steps":       {"auto", slurm("7", "3", "2", "4"), Worker{2, 4}, ""},
		"Slurm without step":   {"auto", slurm("2", "0", "", "4"), Worker{2, 4}, ""},
		"Slurm over MPI":       {"auto", merged(slurm("2", "0", "1", "4"), map[string]string{"RANK": "0", "WORLD_SIZE": "9"}), Worker{2, 4}, ""},
		"Kubernetes":           {"auto", map[string]string{"JOB_COMPLETION_INDEX": "4", "PIPE_WORKERS": "6"}, Worker{4, 6}, ""},
		"torchrun":             {"auto", map[string]string{"RANK": "7", "WORLD_SIZE": "8"}, Worker{7, 8}, ""},
		"no slash":             {"3", nil, Worker{}, "neither auto"},
		"beyond":               {"4/4", nil, Worker{}, "not below"},
		"negative":             {"-1/4", nil, Worker{}, "want a number"},
		"no workers":           {"0/0", nil, Worker{}, "not below"},
		"ours without a count": {"auto", map[string]string{"PIPE_WORKER": "0"}, Worker{}, "PIPE_WORKERS"},
		"a Job without count":  {"auto", map[string]string{"JOB_COMPLETION_INDEX": "0"}, Worker{}, "PIPE_WORKERS"},
		"a list of tasks":      {"auto", slurm("7", "1", "1", "3"), Worker{}, "one range"},
		"below the first":      {"auto", slurm("0", "1", "1", "3"), Worker{}, "one range"},
		"between steps":        {"auto", slurm("4", "3", "2", "3"), Worker{}, "one range"},
		"no number":            {"auto", map[string]string{"RANK": "first", "WORLD_SIZE": "2"}, Worker{}, "RANK"},
	} {
		got, err := Parse(c.flag, func(name string) string { return c.env[name] })
		if got != c.want || (err == nil) != (c.say == "") || err != nil && !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func merged(a, b map[string]string) map[string]string {
	for name, value := range b {
		a[name] = value
	}
	return a
}

// Every task is one worker's.
func TestTasks(t *testing.T) {
	for _, count := range []int{1, 3, 8} {
		var all []int
		for i := range count {
			all = append(all, Worker{i, count}.Tasks(7)...)
		}
		slices.Sort(all)
		if !slices.Equal(all, []int{0, 1, 2, 3, 4, 5, 6}) {
			t.Errorf("%d workers do %v", count, all)
		}
	}
}
