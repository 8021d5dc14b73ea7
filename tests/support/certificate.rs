//! A certificate of a test's own, with its key.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part of it")]

use std::fs;
use std::path::PathBuf;

/// One for these names, signed by itself, and its key; both in PEM.
///
/// (Of ECDSA: Debian's OpenSSL knows Ed25519, but not every build of it does.)
pub fn certify(names: &[&str]) -> (String, String) {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).expect("a key");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// A directory with one for localhost, and nothing else. Dropping it removes it.
pub struct Certificate {
    directory: PathBuf,
    /// Where the certificate is.
    pub certificate: String,
    /// Where its key is.
    pub key: String,
}

impl Certificate {
    pub fn new(directory: PathBuf) -> Self {
        fs::create_dir_all(&directory).expect("a place for it");
        let (certificate, key) = certify(&["localhost"]);
        let put = |name: &str, contents: String| {
            let path = directory.join(name);
            fs::write(&path, contents).expect("it is writable");
            path.to_str().expect("text").to_owned()
        };
        let (certificate, key) = (put("cert.pem", certificate), put("key.pem", key));
        Self { directory, certificate, key }
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}
