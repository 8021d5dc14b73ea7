//! Passwords as RabbitMQ keeps them: a salt of four bytes and the hash of salt and password.
//!
//! So users travel to RabbitMQ and back with their passwords unknown to both. What is compared
//! is compared in a time that tells nothing of where the first difference is.

use std::fmt;

use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

/// Bytes of salt before the digest.
const SALT: usize = 4;

/// The hashes that RabbitMQ's definitions may name; its MD5, for users from before version 3.6,
/// is not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashAlgorithm {
    /// `rabbit_password_hashing_sha256`, RabbitMQ's default.
    Sha256,
    /// `rabbit_password_hashing_sha512`.
    Sha512,
}

impl HashAlgorithm {
    /// Bytes of the digest.
    pub fn digest_len(self) -> usize {
        match self {
            HashAlgorithm::Sha256 => 32,
            HashAlgorithm::Sha512 => 64,
        }
    }

    fn digest(self, salt: [u8; SALT], password: &[u8]) -> Vec<u8> {
        match self {
            HashAlgorithm::Sha256 => {
                Sha256::new_with_prefix(salt).chain_update(password).finalize().to_vec()
            }
            HashAlgorithm::Sha512 => {
                Sha512::new_with_prefix(salt).chain_update(password).finalize().to_vec()
            }
        }
    }
}

/// A password's salted hash.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    algorithm: HashAlgorithm,
    salt: [u8; SALT],
    digest: Box<[u8]>,
}

impl PasswordHash {
    /// Hashes a password with SHA-256; the salt must come from secure randomness.
    pub fn new(password: &[u8], salt: [u8; SALT]) -> PasswordHash {
        let algorithm = HashAlgorithm::Sha256;
        PasswordHash { algorithm, salt, digest: algorithm.digest(salt, password).into() }
    }

    /// The hash whose bytes, salt first, these are (RabbitMQ's `password_hash` without its
    /// base64); `None` if there are too few or too many.
    pub fn from_bytes(algorithm: HashAlgorithm, bytes: &[u8]) -> Option<PasswordHash> {
        let (&salt, digest) = bytes.split_first_chunk()?;
        (digest.len() == algorithm.digest_len()).then(|| PasswordHash {
            algorithm,
            salt,
            digest: digest.into(),
        })
    }

    /// The salt, then the digest.
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.salt, &*self.digest].concat()
    }

    /// What made the digest.
    pub fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// Whether this is the password. Not meant to be slow: RabbitMQ's hashes are not, and a login
    /// is checked on the loop. Who reads the hashes can try many passwords, so keep them secret.
    pub fn verify(&self, password: &[u8]) -> bool {
        self.algorithm.digest(self.salt, password).ct_eq(&self.digest).into()
    }
}

impl fmt::Debug for PasswordHash {
    /// Without the hash.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordHash").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_that_rabbitmq_made_verifies() {
        // `guest`, as RabbitMQ 3.10 exported it.
        let bytes = [
            0x45, 0x6c, 0xce, 0xb4, 0x7d, 0x88, 0x27, 0xad, 0xbe, 0xf0, 0x2d, 0xb6, 0xde, 0xb9,
            0xb2, 0x63, 0xfb, 0x3b, 0x86, 0x0f, 0xb1, 0x55, 0x40, 0x90, 0x5f, 0x5f, 0x98, 0xd1,
            0xb2, 0x53, 0xe6, 0xf7, 0xa4, 0x15, 0xfe, 0x0d,
        ];
        let hash = PasswordHash::from_bytes(HashAlgorithm::Sha256, &bytes).expect("36 bytes");
        assert!(hash.verify(b"guest"));
        assert!(!hash.verify(b"guest2"));
        assert_eq!(PasswordHash::new(b"guest", [bytes[0], bytes[1], bytes[2], bytes[3]]), hash);
    }

    #[test]
    fn only_the_password_verifies() {
        for algorithm in [HashAlgorithm::Sha256, HashAlgorithm::Sha512] {
            let salt = [1, 2, 3, 4];
            let bytes = [&salt[..], &algorithm.digest(salt, b"secret")].concat();
            let hash = PasswordHash::from_bytes(algorithm, &bytes).expect("as long as it must be");
            assert_eq!(hash.to_bytes(), bytes);
            assert!(hash.verify(b"secret"));
            for wrong in [&b""[..], b"s", b"secre", b"secrets", b"Secret"] {
                assert!(!hash.verify(wrong), "{wrong:?}");
            }
            assert_eq!(PasswordHash::from_bytes(algorithm, &bytes[1..]), None);
            assert_eq!(PasswordHash::from_bytes(algorithm, &[&bytes[..], b"x"].concat()), None);
            assert!(!format!("{hash:?}").contains(&bytes[4].to_string()));
        }
    }
}
