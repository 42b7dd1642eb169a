// Tlogcheck holds a log of Altrace against the Go team's own transparency log packages, unchanged:
// golang.org/x/mod/sumdb/note for signatures, golang.org/x/mod/sumdb/tlog for hashes and proofs.
//
//	tlogcheck log <dir> <vkey file>          every entry, up to the signed root
//	tlogcheck receipt <file> <vkey file>     one entry's proof of inclusion
//	tlogcheck consistency <file>             old size, old root, new size, new root, proof; one a line
//
// It exits 0 and prints a line that begins with "ok" only if everything holds.
package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const tileWidth = 256

func main() {
	said, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "tlogcheck:", err)
		os.Exit(1)
	}
	fmt.Println("ok", said)
}

func run(args []string) (string, error) {
	switch {
	case len(args) == 3 && args[0] == "log":
		return checkLog(args[1], args[2])
	case len(args) == 3 && args[0] == "receipt":
		return checkReceipt(args[1], args[2])
	case len(args) == 2 && args[0] == "consistency":
		return checkConsistency(args[1])
	}
	return "", errors.New("usage: tlogcheck log|receipt|consistency ...")
}

// head opens a signed checkpoint by the key of the log.
func head(signed []byte, vkeyFile string) (tlog.Tree, error) {
	vkey, err := os.ReadFile(vkeyFile)
	if err != nil {
		return tlog.Tree{}, err
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(string(vkey)))
	if err != nil {
		return tlog.Tree{}, err
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("not a checkpoint of %s", verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := hash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

func checkLog(dir, vkeyFile string) (string, error) {
	signed, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		return "", err
	}
	tree, err := head(signed, vkeyFile)
	if err != nil {
		return "", err
	}
	stored := []tlog.Hash{}
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			hashes[i] = stored[index]
		}
		return hashes, nil
	})
	for n := int64(0); n < tree.N; n++ {
		entry, err := entryAt(dir, n, tree.N)
		if err != nil {
			return "", err
		}
		more, err := tlog.StoredHashes(n, entry, reader)
		if err != nil {
			return "", err
		}
		stored = append(stored, more...)
	}
	root, err := tlog.TreeHash(tree.N, reader)
	if err != nil {
		return "", err
	}
	if root != tree.Hash {
		return "", fmt.Errorf("the entries have the root %v, signed is %v", root, tree.Hash)
	}
	return fmt.Sprintf("%d entries, root %v", tree.N, root), nil
}

var bundle struct {
	no      int64
	entries [][]byte
}

func entryAt(dir string, n, size int64) ([]byte, error) {
	no := n / tileWidth
	if bundle.entries == nil || bundle.no != no {
		width := min(tileWidth, size-no*tileWidth)
		entries, err := readBundle(dir, no, width)
		if err != nil {
			return nil, err
		}
		bundle.no, bundle.entries = no, entries
	}
	return bundle.entries[n%tileWidth], nil
}

func readBundle(dir string, no, width int64) ([][]byte, error) {
	path := filepath.Join(dir, "tile", "entries", numberPath(no))
	if width < tileWidth {
		path += fmt.Sprintf(".p/%d", width)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	entries := [][]byte{}
	for len(data) >= 2 {
		end := 2 + int(data[0])<<8 + int(data[1])
		if end > len(data) {
			return nil, fmt.Errorf("%s ends within an entry", path)
		}
		entries = append(entries, data[2:end])
		data = data[end:]
	}
	if len(data) != 0 || int64(len(entries)) != width {
		return nil, fmt.Errorf("%s holds %d entries, not %d", path, len(entries), width)
	}
	return entries, nil
}

// numberPath is the index as c2sp.org/tlog-tiles spells it.
func numberPath(no int64) string {
	path := fmt.Sprintf("%03d", no%1000)
	for no >= 1000 {
		no /= 1000
		path = fmt.Sprintf("x%03d/%s", no%1000, path)
	}
	return path
}

func checkReceipt(file, vkeyFile string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	top, signed, found := strings.Cut(string(text), "\n\n")
	lines := strings.Split(top, "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return "", errors.New("not a tlog-proof")
	}
	extra, ok := strings.CutPrefix(lines[1], "extra ")
	if !ok {
		return "", errors.New("the receipt carries no entry")
	}
	entry, err := base64.StdEncoding.DecodeString(extra)
	if err != nil {
		return "", err
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return "", err
	}
	proof, err := hashes(lines[3:])
	if err != nil {
		return "", err
	}
	tree, err := head([]byte(signed), vkeyFile)
	if err != nil {
		return "", err
	}
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry)); err != nil {
		return "", err
	}
	return fmt.Sprintf("entry %d of %d by %d hashes", index, tree.N, len(proof)), nil
}

func checkConsistency(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) < 4 {
		return "", errors.New("four lines and a proof are expected")
	}
	oldSize, err := strconv.ParseInt(lines[0], 10, 64)
	if err != nil {
		return "", err
	}
	newSize, err := strconv.ParseInt(lines[2], 10, 64)
	if err != nil {
		return "", err
	}
	roots, err := hashes([]string{lines[1], lines[3]})
	if err != nil {
		return "", err
	}
	proof, err := hashes(lines[4:])
	if err != nil {
		return "", err
	}
	if err := tlog.CheckTree(proof, newSize, roots[1], oldSize, roots[0]); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d is the beginning of %d by %d hashes", oldSize, newSize, len(proof)), nil
}

func hashes(lines []string) ([]tlog.Hash, error) {
	all := make([]tlog.Hash, 0, len(lines))
	for _, line := range lines {
		one, err := hash(line)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

func hash(text string) (tlog.Hash, error) {
	bytes, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(bytes) != tlog.HashSize {
		return tlog.Hash{}, fmt.Errorf("%q is not a hash", text)
	}
	return tlog.Hash(bytes), nil
}
