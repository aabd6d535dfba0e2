// SPDX-License-Identifier: Apache-2.0

//! Answers one conformance case with the `sev` crate, the library below snpguest.
//!
//! It speaks the hermetic contract of docs/guides/conformance.md: one JSON object on stdin, one on stdout,
//! and the exit status says what it came to. The crate checks signatures and nothing else; the anchor of
//! the case is handed to it as the ARK.

use std::collections::HashMap;
use std::error::Error;
use std::process::exit;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use sev::certs::snp::{Certificate, Chain, Verifiable, ca};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser;

#[derive(Deserialize)]
struct Question {
    platform: String,
    evidence: String,
    collateral: HashMap<String, String>,
    anchor: Option<String>,
}

fn main() {
    let asked: Question = serde_json::from_reader(std::io::stdin()).expect("a case on stdin");
    if asked.platform != "snp" {
        say("fail", "not this kind of evidence", 20);
    }
    match verify(&asked) {
        Ok(()) => say("pass", "", 0),
        Err(problem) => say("fail", &problem.to_string(), 10),
    }
}

fn verify(asked: &Question) -> Result<(), Box<dyn Error>> {
    let of = |role: &str| -> Result<Vec<u8>, Box<dyn Error>> {
        let text = asked.collateral.get(role).ok_or(format!("the case has no {role}"))?;
        Ok(STANDARD.decode(text)?)
    };
    let anchor = asked.anchor.as_ref().ok_or("the case has no anchor")?;
    let chain = Chain {
        ca: ca::Chain {
            ark: Certificate::from_der(&STANDARD.decode(anchor)?)?,
            ask: Certificate::from_der(&of("ask")?)?,
        },
        vek: Certificate::from_der(&of("vek")?)?,
    };
    let report = AttestationReport::from_bytes(&STANDARD.decode(&asked.evidence)?)?;
    (&chain, &report).verify()?;
    Ok(())
}

fn say(verdict: &str, code: &str, status: i32) -> ! {
    println!("{}", serde_json::json!({"verdict": verdict, "code": code}));
    exit(status)
}
