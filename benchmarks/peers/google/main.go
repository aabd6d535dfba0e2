// SPDX-License-Identifier: Apache-2.0

// Command google answers one conformance case with go-sev-guest or go-tdx-guest.
//
//	google go-sev-guest|go-tdx-guest [--defaults] < case.json
//
// It speaks the hermetic contract of docs/guides/conformance.md: one JSON object in, one out, and the exit
// status says what it came to. With --defaults the peer runs with the options it has when nobody sets any;
// without, with revocation and collateral checks on and the guest policy of the vectors' profile.
package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/google/go-sev-guest/abi"
	spb "github.com/google/go-sev-guest/proto/sevsnp"
	snpvalidate "github.com/google/go-sev-guest/validate"
	snpverify "github.com/google/go-sev-guest/verify"
	snptrust "github.com/google/go-sev-guest/verify/trust"
	tdxabi "github.com/google/go-tdx-guest/abi"
	tdxvalidate "github.com/google/go-tdx-guest/validate"
	tdxverify "github.com/google/go-tdx-guest/verify"
)

const (
	accept      = 0
	reject      = 10
	unsupported = 20
)

type question struct {
	Platform   string            `json:"platform"`
	Evidence   []byte            `json:"evidence"`
	Collateral map[string][]byte `json:"collateral"`
	Anchor     []byte            `json:"anchor"`
	Time       time.Time         `json:"time"`
}

type answer struct {
	Verdict string `json:"verdict"`
	Code    string `json:"code"`
}

func main() {
	var asked question
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	defaults := len(os.Args) > 2 && os.Args[2] == "--defaults"
	var err error
	switch {
	case os.Args[1] == "go-sev-guest" && asked.Platform == "snp":
		err = snp(&asked, defaults)
	case os.Args[1] == "go-tdx-guest" && asked.Platform == "tdx":
		err = tdx(&asked, defaults)
	default:
		say("fail", "not this kind of evidence", unsupported)
	}
	if err != nil {
		say("fail", err.Error(), reject)
	}
	say("pass", "", accept)
}

func say(verdict, code string, status int) {
	if err := json.NewEncoder(os.Stdout).Encode(answer{verdict, code}); err != nil {
		panic(err)
	}
	os.Exit(status)
}

// tdx verifies a quote. Everything that the library would fetch comes from the case.
func tdx(asked *question, defaults bool) error {
	options := &tdxverify.Options{
		CheckRevocations: !defaults,
		GetCollateral:    !defaults,
		Getter:           pcs{asked.Collateral},
		Now:              asked.Time,
		TrustedRoots:     x509.NewCertPool(),
	}
	root, err := x509.ParseCertificate(asked.Anchor)
	if err != nil {
		return err
	}
	options.TrustedRoots.AddCert(root)
	if err := tdxverify.RawTdxQuote(asked.Evidence, options); err != nil {
		return err
	}
	quote, err := tdxabi.QuoteToProto(asked.Evidence)
	if err != nil {
		return err
	}
	return tdxvalidate.TdxQuote(quote, &tdxvalidate.Options{})
}

// pcs answers as Intel's service would, with the documents of the case.
type pcs struct{ documents map[string][]byte }

func (service pcs) Get(address string) (map[string][]string, []byte, error) {
	for part, role := range map[string]string{"/pckcrl": "pck_crl", "/tcb": "tcb_info", "/qe/identity": "qe_identity"} {
		where, err := url.Parse(address)
		if err != nil {
			return nil, nil, err
		}
		if !strings.HasSuffix(where.Path, part) {
			continue
		}
		header := map[string]string{
			"pck_crl":     "Sgx-Pck-Crl-Issuer-Chain",
			"tcb_info":    "Tcb-Info-Issuer-Chain",
			"qe_identity": "Sgx-Enclave-Identity-Issuer-Chain",
		}[role]
		chain := url.QueryEscape(string(service.documents[role+"_issuer_chain"]))
		return map[string][]string{header: {chain}}, service.documents[role], have(service.documents, role)
	}
	return nil, service.documents["root_ca_crl"], have(service.documents, "root_ca_crl")
}

// snp verifies a report and then applies the profile's guest policy.
func snp(asked *question, defaults bool) error {
	report, err := abi.ReportToProto(asked.Evidence)
	if err != nil {
		return err
	}
	signer, err := abi.ParseSignerInfo(report.GetSignerInfo())
	if err != nil {
		return err
	}
	chain := &spb.CertificateChain{AskCert: asked.Collateral["ask"], ArkCert: asked.Collateral["ark"]}
	if signer.SigningKey == abi.VlekReportSigner {
		chain.VlekCert = asked.Collateral["vek"]
	} else {
		chain.VcekCert = asked.Collateral["vek"]
	}
	options := &snpverify.Options{
		CheckRevocations:    !defaults && len(asked.Collateral["crl"]) > 0,
		DisableCertFetching: true,
		Getter:              kds{asked.Collateral},
		Now:                 asked.Time,
	}
	if !defaults {
		if options.TrustedRoots, err = roots(asked, signer.SigningKey); err != nil {
			return err
		}
	} else if !embedded(asked.Anchor) {
		say("fail", "another root than AMD's", unsupported)
	}
	attestation := &spb.Attestation{Report: report, CertificateChain: chain}
	if err := snpverify.SnpAttestation(attestation, options); err != nil {
		return err
	}
	return snpvalidate.SnpAttestation(attestation, &snpvalidate.Options{
		// Allows what may be allowed but debugging and migration; the other fields are demands.
		GuestPolicy:               abi.SnpPolicy{SMT: true, CXLAllowed: true},
		PermitProvisionalFirmware: true,
	})
}

// roots hands the library the anchor of the case with the intermediate that came with the evidence: the
// library builds the path from one to the other itself.
func roots(asked *question, key abi.ReportSigner) (map[string][]*snptrust.AMDRootCerts, error) {
	ark, err := x509.ParseCertificate(asked.Anchor)
	if err != nil {
		return nil, err
	}
	if given := asked.Collateral["ark"]; len(given) > 0 && sha256.Sum256(given) != sha256.Sum256(asked.Anchor) {
		return nil, fmt.Errorf("the ARK of the evidence is not the anchor")
	}
	intermediate, err := snptrust.ParseCert(asked.Collateral["ask"])
	if err != nil {
		return nil, err
	}
	line := strings.TrimPrefix(ark.Subject.CommonName, "ARK-")
	root := snptrust.AMDRootCertsProduct(line)
	root.ProductCerts = &snptrust.ProductCerts{Ask: intermediate, Ark: ark}
	if key == abi.VlekReportSigner {
		root.ProductCerts.Asvk = intermediate
	}
	return map[string][]*snptrust.AMDRootCerts{line: {root}}, nil
}

// embedded tells whether the library has the anchor built in.
func embedded(anchor []byte) bool {
	for _, root := range snptrust.DefaultRootCerts {
		if root.ProductCerts.Ark != nil && string(root.ProductCerts.Ark.Raw) == string(anchor) {
			return true
		}
	}
	return false
}

// kds answers as AMD's service would, with the revocation list of the case.
type kds struct{ documents map[string][]byte }

func (service kds) Get(address string) ([]byte, error) {
	if !strings.HasSuffix(address, "/crl") {
		return nil, fmt.Errorf("not in the case: %s", address)
	}
	return service.documents["crl"], have(service.documents, "crl")
}

func have(documents map[string][]byte, role string) error {
	if len(documents[role]) == 0 {
		return fmt.Errorf("the case has no %s", role)
	}
	return nil
}
