//! Certificates and keys that cannot be used: the error says which file, what is wrong with it, and
//! what to do.

use ropewalk_reactor::tls::{Pem, TlsClient, TlsServer};

use crate::support::*;

#[track_caller]
fn refused(certificate: impl Into<Pem>, key: impl Into<Pem>, expected: &str) {
    let error = TlsServer::new(certificate, key).expect_err(expected).to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_bad_file_is_named_with_what_is_wrong_and_what_to_do() {
    let directory = Scratch::new("files");
    let put = |name: &str, contents: &[u8]| {
        let path = directory.join(name);
        std::fs::write(&path, contents).expect("it is writable");
        path
    };
    let mine = identity();
    let (certificate, key) =
        (put("cert.pem", mine.certificate.as_bytes()), put("key.pem", mine.key.as_bytes()));
    assert!(TlsServer::new(&*certificate, &*key).is_ok());

    let missing = directory.join("missing.pem");
    refused(&*missing, &*key, "missing.pem: No such file");
    refused(&*certificate, &*missing, "cannot use the key in ");
    let empty = put("empty.pem", b"\n");
    refused(&*empty, &*key, "empty.pem: there is nothing in it");
    let text = put("text.pem", b"hello");
    refused(&*text, &*key, "text.pem: it is not PEM");
    let der = put("cert.der", &[0x30, 0x82, 1, 2, 3]);
    refused(&*der, &*key, "cert.der: it is DER, and has to be PEM; `openssl x509 -inform DER`");
    refused(&*certificate, &*der, "`openssl pkey -inform DER` converts it");
    refused(&*key, &*certificate, "key.pem: it is a key, not a certificate: are the two swapped?");
    refused(&*certificate, &*certificate, "it is a certificate, not a key: are the two swapped?");
    let damaged = mine.certificate.replacen("MII", "MIj", 1);
    refused(Pem::text(damaged), &*key, "damaged");
    let cut: String = mine.certificate.lines().take(3).map(|line| format!("{line}\n")).collect();
    refused(&*put("cut.pem", cut.as_bytes()), &*key, "cut.pem: it is damaged PEM");
    let request = "-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n";
    refused(Pem::text(request), &*key, "it is a request for a certificate");
    let locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    refused(&*certificate, &*put("locked.pem", locked.as_bytes()), "locked.pem: it is encrypted");
    let odd = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
    refused(&*certificate, Pem::text(odd), "it is of no kind that is known here");
    let other = authority().sign(&["other.test"]);
    refused(&*certificate, other.key(), "it does not belong to the certificate in ");
    let turned = format!("{}{}", authority().certificate, mine.certificate);
    refused(Pem::text(turned), &*key, "is not the first one");

    let error = TlsServer::builder().build().expect_err("nothing to show").to_string();
    assert!(error.contains("a server has to have a certificate"), "{error}");
    let error = TlsClient::builder().authorities(&*key).build().expect_err("a key").to_string();
    assert!(error.starts_with("cannot use the authorities in "), "{error}");
}

#[test]
fn one_file_may_have_both_and_a_pem_never_shows_what_is_in_it() {
    let both = format!("{}{}", identity().key, identity().certificate);
    let tls = TlsServer::new(Pem::text(&both), Pem::text(&both)).expect("both are in it");
    assert!(tls.files().is_empty());
    assert_eq!(format!("{:?}", Pem::text(both)), "Pem(that was given as text)");
    let tls = TlsServer::new("no/cert.pem", "no/key.pem").expect_err("no such file");
    assert!(tls.to_string().contains("no/cert.pem"), "{tls}");
}
