package export

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"

	"facepipe/store"
)

// names gives crops paths that every common file system can hold, no two the same even
// where case does not count, and none outside the export. The zero value is ready.
type names struct {
	// folders are those of the identities met.
	folders map[string]string
	// taken are all paths given away, folded; true for files, false for folders. They
	// stand there as digests.
	taken map[[16]byte]bool
}

// path is where a crop goes, with slashes: in the folder of its identity (crops without
// one lie at the top), the name being the key without the identity that it often begins
// with. The name gets the first of the endings if it has none of them.
func (n *names) path(c *store.Crop, endings []string) string {
	if n.taken == nil {
		n.folders, n.taken = map[string]string{}, map[[16]byte]bool{}
	}
	dir, name := n.folder(c.Identity), c.Key
	if c.Identity != "" {
		if rest, ok := strings.CutPrefix(name, c.Identity+"/"); ok && rest != "" {
			name = rest
		}
	}
	ending := endings[0]
	for _, e := range endings {
		if stem := name[:max(0, len(name)-len(e))]; stem != "" && strings.EqualFold(name[len(stem):], e) {
			name, ending = stem, name[len(stem):]
			break
		}
	}
	stem := safeName(name)
	for i := 0; ; i++ {
		if p := path.Join(dir, numbered(stem, i)+ending); n.take(p, true) {
			return p
		}
	}
}

// folder is the folder of an identity; one for each.
func (n *names) folder(identity string) string {
	if identity == "" {
		return ""
	}
	if dir, met := n.folders[identity]; met {
		return dir
	}
	parts := strings.Split(identity, "/")
	for i := range parts {
		parts[i] = safeName(parts[i])
	}
	dir := strings.Join(parts, "/")
	flat := safeName(identity)
	for i := 0; len(dir) > maxFolder || !n.takeFolder(dir); i++ {
		dir = numbered(flat, i)
	}
	n.folders[identity] = dir
	return dir
}

// take gives a path away, unless it is taken.
func (n *names) take(p string, file bool) bool {
	k := folded(p)
	if _, taken := n.taken[k]; taken {
		return false
	}
	n.taken[k] = file
	return true
}

// takeFolder gives a folder to an identity: it must be no other's, and no file may be
// where it or a folder above it is to be.
func (n *names) takeFolder(dir string) bool {
	if _, taken := n.taken[folded(dir+"/")]; taken {
		return false
	}
	var above [][16]byte
	for p := dir; p != "."; p = path.Dir(p) {
		k := folded(p)
		if n.taken[k] {
			return false
		}
		above = append(above, k)
	}
	for _, k := range above {
		n.taken[k] = false
	}
	// A folder above another identity's may be an identity's too.
	return n.take(dir+"/", false)
}

// folded stands for a path and all that differ from it in case only.
func folded(p string) [16]byte {
	sum := sha256.Sum256([]byte(strings.ToLower(strings.ToUpper(p))))
	return [16]byte(sum[:16])
}

// numbered tells names apart that would be the same: the first is left as it is.
func numbered(name string, i int) string {
	if i == 0 {
		return name
	}
	return fmt.Sprintf("%s~%d", name, i)
}

// Longest names in bytes. File systems take 255 for a name, of which endings and numbers
// need some, and 4,096 for a whole path.
const (
	maxName   = 200
	maxFolder = 1024
)

// reserved are names that Windows keeps for devices, whatever ending they have.
var reserved = regexp.MustCompile(`(?i)^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)`)

// safeName makes one name of any text. What could not be in a name, would hide the file
// or lead elsewhere is written %XX, as in URLs; a long name is cut and gets a digest.
func safeName(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		first, last := i == 0, i == len(s)-1
		switch {
		case c < ' ' || c == 0x7f || strings.IndexByte(`/\%"*:<>?|`, c) >= 0,
			first && c == '.',
			last && (c == '.' || c == ' '),
			first && reserved.MatchString(s):
			fmt.Fprintf(&b, "%%%02X", c)
		default:
			b.WriteByte(c)
		}
	}
	if name := b.String(); len(name) > 0 && len(name) <= maxName {
		return name
	}
	sum := sha256.Sum256([]byte(s))
	return cut(b.String(), maxName-20) + "~" + hex.EncodeToString(sum[:8])
}

// cut is the beginning of s, at most n bytes, without half a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
