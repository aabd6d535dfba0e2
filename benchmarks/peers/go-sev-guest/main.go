// SPDX-License-Identifier: Apache-2.0

// Command go-sev-guest verifies one SEV-SNP report over and over and says how long that took.
//
//	go-sev-guest FOLDER
//
// FOLDER is a case of tests/vectors/snp. For each number that it reads from stdin, one a line, it verifies the
// report so many times and answers with the seconds of processor time that were spent. Everything is checked
// that the library can check: the chain up to the case's ARK, the revocation list, the signature, then the
// guest policy. Nothing is remembered from one verification to the next, since the library remembers nothing.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-sev-guest/abi"
	spb "github.com/google/go-sev-guest/proto/sevsnp"
	"github.com/google/go-sev-guest/validate"
	"github.com/google/go-sev-guest/verify"
)

type description struct {
	Evidence   string             `json:"evidence"`
	Collateral map[string]*string `json:"collateral"`
	Time       time.Time          `json:"time"`
}

type recorded struct {
	report, vcek, ask, ark, crl []byte
	at                          time.Time
}

func main() {
	found, err := load(os.Args[1])
	if err != nil {
		fail(err)
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		count, err := strconv.Atoi(lines.Text())
		if err != nil {
			fail(err)
		}
		began := spent()
		for range count {
			if err := found.verify(); err != nil {
				fail(err)
			}
		}
		fmt.Printf("%.9f\n", (spent() - began).Seconds())
	}
}

func load(folder string) (*recorded, error) {
	text, err := os.ReadFile(filepath.Join(folder, "case.json"))
	if err != nil {
		return nil, err
	}
	var told description
	if err := json.Unmarshal(text, &told); err != nil {
		return nil, err
	}
	var found recorded
	found.at = told.Time
	for role, place := range map[string]*[]byte{
		"vek": &found.vcek, "ask": &found.ask, "ark": &found.ark, "crl": &found.crl,
	} {
		if *place, err = os.ReadFile(filepath.Join(folder, *told.Collateral[role])); err != nil {
			return nil, err
		}
	}
	found.report, err = os.ReadFile(filepath.Join(folder, told.Evidence))
	return &found, err
}

// verify begins with bytes, as a server that is sent a report does.
func (found *recorded) verify() error {
	report, err := abi.ReportToProto(found.report)
	if err != nil {
		return err
	}
	attestation := &spb.Attestation{
		Report:           report,
		CertificateChain: &spb.CertificateChain{VcekCert: found.vcek, AskCert: found.ask, ArkCert: found.ark},
	}
	options := &verify.Options{
		CheckRevocations:    true,
		DisableCertFetching: true,
		Getter:              found,
		Now:                 found.at,
	}
	if err := verify.SnpAttestation(attestation, options); err != nil {
		return err
	}
	return validate.SnpAttestation(attestation, &validate.Options{
		GuestPolicy:               abi.SnpPolicy{SMT: true, CXLAllowed: true},
		PermitProvisionalFirmware: true,
	})
}

// Get answers as AMD's service would, with the revocation list of the case.
func (found *recorded) Get(address string) ([]byte, error) {
	if !strings.HasSuffix(address, "/crl") {
		return nil, fmt.Errorf("not in the case: %s", address)
	}
	return found.crl, nil
}

// spent returns the processor time of this process, all of its threads, so that waiting costs nothing.
func spent() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fail(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
