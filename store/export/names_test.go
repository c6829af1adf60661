package export

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"facepipe/store"
)

func TestNames(t *testing.T) {
	long := strings.Repeat("é", 150)
	type crop struct{ identity, key, want string }
	for name, crops := range map[string][]crop{
		"as it was": {
			{"Abel", "Abel/0001.jpg", "Abel/0001.jpg"},
			{"Abel", "Abel/0002.JPEG", "Abel/0002.JPEG"},
			{"a/b", "a/b/1.jpg", "a/b/1.jpg"},
			{"", "top.jpg", "top.jpg"},
		},
		"key elsewhere than the identity": {
			{"Abel", "photos/1.jpg", "Abel/photos%2F1.jpg"},
			{"set/7", "12", "set/7/12.jpg"},
			{"", "a/b.jpg", "a%2Fb.jpg"},
			{"Abel", "Abel/", "Abel/Abel%2F.jpg"},
			{"Abel", "Abel", "Abel/Abel.jpg"},
		},
		"ending": {
			{"", "a", "a.jpg"}, {"", "b.png", "b.png.jpg"}, {"", "b.png.jpg", "b.png~1.jpg"}, {"", ".jpg", "%2Ejpg.jpg"},
		},
		"case": {
			{"Bob", "Bob/A.jpg", "Bob/A.jpg"},
			{"bob", "bob/a.jpg", "bob~1/a.jpg"},
			{"Bob", "Bob/a.jpg", "Bob/a~1.jpg"},
			{"BOB/x", "BOB/x/1.jpg", "BOB/x/1.jpg"},
			{"bob/X", "bob/X/1.jpg", "bob%2FX/1.jpg"},
			{"Straße", "1.jpg", "Straße/1.jpg"},
		},
		"traversal": {
			{"..", "../etc.jpg", "%2E%2E/etc.jpg"},
			{"../..", "passwd", "%2E%2E/%2E%2E/passwd.jpg"},
			{"", "/etc/passwd", "%2Fetc%2Fpasswd.jpg"},
			{"", "../x.jpg", "%2E.%2Fx.jpg"},
			{"a//b", "a//b/1.jpg", "a/~e3b0c44298fc1c14/b/1.jpg"},
			{"C:\\x", "1.jpg", "C%3A%5Cx/1.jpg"},
		},
		"hidden and forbidden": {
			{".git", ".git/.x.jpg", "%2Egit/%2Ex.jpg"},
			{"con", "con/nul.jpg", "%63on/%6Eul.jpg"},
			{"console", "aux.b.jpg", "console/%61ux.b.jpg"},
			{"dot.", "blank ", "dot%2E/blank%20.jpg"},
			{"a\nb", "50%?.jpg", "a%0Ab/50%25%3F.jpg"},
		},
		"long": {
			{"", long, strings.Repeat("é", 90) + "~" + "cb1fa3158102cb16" + ".jpg"},
		},
		"a file where a folder is to be": {
			{"a", "a/b.jpg", "a/b.jpg"},
			{"a/b.jpg", "a/b.jpg/1.jpg", "a%2Fb.jpg/1.jpg"},
			{"a/B.JPG/c", "1.jpg", "a%2FB.JPG%2Fc/1.jpg"},
			{"c/d.jpg", "c/d.jpg/1.jpg", "c/d.jpg/1.jpg"},
			{"c", "c/d.jpg", "c/d~1.jpg"},
		},
	} {
		var n names
		for _, c := range crops {
			if got := n.path(&store.Crop{Identity: c.identity, Key: c.key}, []string{".jpg", ".jpeg"}); got != c.want {
				t.Errorf("%s: %q of %q is at %q, want %q", name, c.key, c.identity, got, c.want)
			}
		}
	}
}

// Whatever crops are called, their files are apart, inside the export, and possible.
func FuzzNames(f *testing.F) {
	f.Add("Abel", "Abel/1.jpg", "abel", "ABEL/1.jpg", "", "abel")
	f.Add("..", "../..", "a//b", "/", "CON", ".")
	f.Add("a", "a/b", "a/b.png", "c", "a/B.PNG/x", "~1")
	f.Add(strings.Repeat("ä", 300), strings.Repeat("x/", 900), "%2F", "%", "a~1", "A")
	f.Fuzz(func(t *testing.T, a, b, c, d, e, g string) {
		all := []string{a, b, c, d, e, g}
		var n names
		seen := map[string]string{}
		folders := map[string]string{}
		for _, identity := range all {
			for _, key := range all {
				if store.ValidKey(key) != nil || identity != "" && store.ValidKey(identity) != nil {
					continue
				}
				p := n.path(&store.Crop{Identity: identity, Key: key}, []string{".png"})
				who := fmt.Sprintf("%q of %q", key, identity)
				checkPath(t, p)
				if other, taken := seen[strings.ToLower(p)]; taken {
					t.Fatalf("%s and %s are both at %q", who, other, p)
				}
				seen[strings.ToLower(p)] = who
				dir := strings.ToLower(filepath.ToSlash(filepath.Dir(p)))
				if other, met := folders[dir]; met && other != identity {
					t.Fatalf("identities %q and %q share folder %q", identity, other, dir)
				}
				folders[dir] = identity
			}
		}
		for p, who := range seen {
			for q := range folders {
				if p == q || strings.HasPrefix(q, p+"/") {
					t.Fatalf("%s is at %q, which is a folder", who, p)
				}
			}
		}
	})
}

func checkPath(t *testing.T, p string) {
	t.Helper()
	if !filepath.IsLocal(p) || !utf8.ValidString(p) || len(p) > maxFolder+256 || !strings.HasSuffix(strings.ToLower(p), ".png") {
		t.Fatalf("path %q", p)
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == "" || part[0] == '.' || len(part) > 255 || strings.ContainsAny(part, "\x00\n\\:*?\"<>|") || strings.HasSuffix(part, ".") {
			t.Fatalf("path %q has part %q", p, part)
		}
	}
}
