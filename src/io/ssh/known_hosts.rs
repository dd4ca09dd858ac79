//! Whether a host is who it says it is: OpenSSH's `known_hosts` rules, read from text and judged without a socket.
//!
//! Written here because the SSH library's own checker ignores `@revoked`, wildcards and authorities.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use hmac::{Hmac, Mac};
use russh::Preferred;
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::ssh_key::known_hosts::HostPatterns;
use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey, PublicKeyOrCertificate};
use sha1::Sha1;

/// The entries of all known-hosts files, in reading order.
#[derive(Debug, Default, Clone)]
pub(super) struct KnownHosts {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    place: Place,
    marker: Marker,
    patterns: HostPatterns,
    key: PublicKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marker {
    None,
    Authority,
    Revoked,
}

/// A line of a known-hosts file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    file: PathBuf,
    line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// The name a host's key is filed under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyName {
    /// As OpenSSH writes it: `host`, or `[host]:port` for an unusual port.
    pub exact: String,
    /// The host alone, as certificates name it; an exact match under it also counts for an unusual port.
    pub bare: String,
}

impl KeyName {
    /// An alias stands for host and port together.
    pub(super) fn new(host: &str, port: u16, alias: Option<&str>) -> Self {
        let bare = alias.unwrap_or(host).to_lowercase();
        let exact = if alias.is_none() && port != 22 {
            format!("[{bare}]:{port}")
        } else {
            bare.clone()
        };
        KeyName { exact, bare }
    }
}

/// What the files say about an offered key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Known,
    /// Nothing fits; the places hold keys of other types for the host, and `certificate` tells why an offered one did not do.
    Unknown {
        others: Vec<Place>,
        certificate: Option<String>,
    },
    /// Keys of this type are on record, but not this one.
    Changed(Place),
    Revoked(Place),
}

impl KnownHosts {
    /// Reads the files that exist. One that exists and cannot be read is an error, not an empty file.
    pub(super) fn read(paths: &[PathBuf]) -> Result<Self, (PathBuf, std::io::Error)> {
        let mut known = KnownHosts::default();
        for path in paths {
            match std::fs::read(path) {
                Ok(bytes) => known.add(path, &String::from_utf8_lossy(&bytes)),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err((path.clone(), e)),
            }
        }
        Ok(known)
    }

    /// Adds lists of public keys that no host may have (`RevokedHostKeys`). As in OpenSSH, one that cannot be read stops
    /// everything.
    pub(super) fn revoke(&mut self, paths: &[PathBuf]) -> Result<(), (PathBuf, std::io::Error)> {
        for path in paths {
            let text = std::fs::read_to_string(path).map_err(|e| (path.clone(), e))?;
            if text.starts_with("SSHKRL") {
                let because = "it is a compiled revocation list; only lists of public keys are understood";
                return Err((path.clone(), std::io::Error::other(because)));
            }
            for (index, line) in text.lines().enumerate() {
                let line = line.trim();
                let Ok(key) = PublicKey::from_openssh(line) else {
                    if line.is_empty() || line.starts_with('#') {
                        continue;
                    }
                    let because = format!("line {} is no public key", index + 1);
                    return Err((path.clone(), std::io::Error::other(because)));
                };
                self.entries.push(Entry {
                    place: Place {
                        file: path.clone(),
                        line: index + 1,
                    },
                    marker: Marker::Revoked,
                    patterns: HostPatterns::Patterns(vec!["*".into()]),
                    key,
                });
            }
        }
        Ok(())
    }

    /// Lines that are no entries, and keys of types that cannot be negotiated, are passed over as OpenSSH does.
    fn add(&mut self, file: &Path, text: &str) {
        for (index, line) in text.lines().enumerate() {
            let place = Place {
                file: file.to_path_buf(),
                line: index + 1,
            };
            match parse(line) {
                Some((marker, patterns, key)) => {
                    self.entries.push(Entry {
                        place,
                        marker,
                        patterns,
                        key,
                    });
                }
                None if line.trim().is_empty() || line.trim_start().starts_with('#') => {}
                None => tracing::debug!(%place, "passed over: not an entry"),
            }
        }
    }

    /// The entries with this marker for this name.
    fn about<'a>(&'a self, name: &'a str, marker: Marker) -> impl Iterator<Item = &'a Entry> {
        self.entries
            .iter()
            .filter(move |e| e.marker == marker && matches(&e.patterns, name))
    }

    /// Judges what the server offered. `now` is the time in seconds since 1970, for certificates.
    pub(super) fn judge(&self, name: &KeyName, offered: &PublicKeyOrCertificate, now: u64) -> Verdict {
        let key = offered.public_key();
        let names = [name.exact.as_str(), name.bare.as_str()];
        for entry in names.iter().flat_map(|n| self.about(n, Marker::Revoked)) {
            let signed_by_revoked = offered
                .certificate()
                .is_some_and(|c| c.signature_key() == entry.key.key_data());
            if entry.key.key_data() == key.key_data() || signed_by_revoked {
                return Verdict::Revoked(entry.place.clone());
            }
        }
        let certificate = match offered
            .certificate()
            .map(|c| self.check_certificate(name, c, now))
        {
            Some(Ok(())) => return Verdict::Known,
            Some(Err(reason)) => Some(reason),
            None => None,
        };
        // Without a valid certificate the bare key decides, as in OpenSSH.
        let (same, others): (Vec<_>, Vec<_>) = self
            .about(&name.exact, Marker::None)
            .partition(|e| e.key.algorithm() == key.algorithm());
        let is_it = |e: &Entry| e.key.key_data() == key.key_data();
        // What is on record for the very port is not overruled by what the host uses on another.
        if same.iter().any(|e| is_it(e))
            || (same.is_empty() && self.about(&name.bare, Marker::None).any(is_it))
        {
            return Verdict::Known;
        }
        match same.first() {
            Some(entry) => Verdict::Changed(entry.place.clone()),
            None => Verdict::Unknown {
                others: others.iter().map(|e| e.place.clone()).collect(),
                certificate,
            },
        }
    }

    /// Says why a host certificate does not do.
    fn check_certificate(&self, name: &KeyName, certificate: &Certificate, now: u64) -> Result<(), String> {
        if certificate.cert_type() != CertType::Host {
            return Err("the certificate is for users, not for hosts".into());
        }
        let authority = certificate.signature_key();
        let trusted = [&name.exact, &name.bare]
            .into_iter()
            .flat_map(|n| self.about(n, Marker::Authority))
            .find(|e| e.key.key_data() == authority)
            .ok_or_else(|| {
                format!(
                    "the certificate's authority {} is not trusted for this host",
                    authority.fingerprint(HashAlg::Sha256)
                )
            })?;
        if matches!(certificate.signature().algorithm(), Algorithm::Rsa { hash: None }) {
            return Err("the certificate is signed with SHA-1".into());
        }
        if now < certificate.valid_after() {
            return Err("the certificate is not valid yet: compare the clocks".into());
        }
        if now >= certificate.valid_before() {
            return Err("the certificate has expired".into());
        }
        if let Some((option, _)) = certificate.critical_options().iter().next() {
            return Err(format!(
                "the certificate has the unknown critical option `{option}`"
            ));
        }
        let principals = certificate.valid_principals();
        if !principals.is_empty() && !principals.iter().any(|p| glob(&p.to_lowercase(), &name.bare)) {
            return Err(format!(
                "the certificate is for `{}`, not for `{}`",
                principals.join("`, `"),
                name.bare
            ));
        }
        certificate
            .validate_at(now, [&trusted.key.fingerprint(HashAlg::Sha256)])
            .map_err(|_| "the certificate's signature is wrong".into())
    }

    /// Algorithms to negotiate: those whose keys are on record first, or a host known by its RSA key would offer another;
    /// certificates only when an authority is trusted for the host.
    pub(super) fn preferred(&self, name: &KeyName) -> Preferred {
        let mut preferred = Preferred::DEFAULT;
        let mut known: Vec<Algorithm> = self
            .about(&name.exact, Marker::None)
            .map(|e| e.key.algorithm())
            .collect();
        if known.is_empty() {
            known = self
                .about(&name.bare, Marker::None)
                .map(|e| e.key.algorithm())
                .collect();
        }
        let rsa = |a: &Algorithm| matches!(a, Algorithm::Rsa { .. });
        let is_known = |a: &Algorithm| known.iter().any(|k| k == a || (rsa(k) && rsa(a)));
        let (mut first, rest): (Vec<_>, Vec<_>) = preferred.key.iter().cloned().partition(|a| is_known(a));
        let trusts_an_authority = [&name.exact, &name.bare]
            .into_iter()
            .any(|n| self.about(n, Marker::Authority).next().is_some());
        if trusts_an_authority {
            let modern = preferred
                .key
                .iter()
                .filter(|a| !matches!(a, Algorithm::Rsa { hash: None }));
            preferred.host_key_certificates = Cow::Owned(modern.cloned().collect());
        }
        first.extend(rest);
        preferred.key = Cow::Owned(first);
        preferred
    }
}

/// One entry: `[@marker] patterns type base64 [comment]`, separated by blanks or tabs.
fn parse(line: &str) -> Option<(Marker, HostPatterns, PublicKey)> {
    let mut fields = line.split_ascii_whitespace().peekable();
    let marker = match *fields.peek()? {
        "@cert-authority" => Marker::Authority,
        "@revoked" => Marker::Revoked,
        other if other.starts_with(['@', '#']) => return None,
        _ => Marker::None,
    };
    if marker != Marker::None {
        fields.next();
    }
    let patterns = fields.next()?.parse().ok()?;
    let key = PublicKey::from_openssh(&format!("{} {}", fields.next()?, fields.next()?)).ok()?;
    Some((marker, patterns, key))
}

/// A list matches when a pattern does and no negated one does.
fn matches(patterns: &HostPatterns, name: &str) -> bool {
    match patterns {
        HostPatterns::HashedName { salt, hash } => {
            let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(salt) else {
                return false;
            };
            mac.update(name.as_bytes());
            mac.verify_slice(hash).is_ok()
        }
        HostPatterns::Patterns(list) => {
            let mut matched = false;
            for pattern in list {
                let pattern = pattern.to_lowercase();
                match pattern.strip_prefix('!') {
                    Some(negated) if glob(negated, name) => return false,
                    Some(_) => {}
                    None => matched |= glob(&pattern, name),
                }
            }
            matched
        }
    }
}

/// `*` stands for any run of characters, `?` for one; nothing else is special.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB9dG4kjRhQTtWTVzd2t27+t0DEHBPW7iOD23TUiYLio";
    const ED2: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";
    const EC: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHwf2HMM5TRXvo2SQJjsNkiDD5KqiiNjrGVv3UUh+mMT5RHxiRtOnlqvjhQtBq0VpmpCV/PwUdhOig4vkbqAcEc=";

    fn known(text: &str) -> KnownHosts {
        let mut known = KnownHosts::default();
        known.add(Path::new("kh"), text);
        known
    }

    fn verdict(text: &str, host: &str, port: u16, key: &str) -> Verdict {
        let offered = PublicKey::from_openssh(key).unwrap().into();
        known(text).judge(&KeyName::new(host, port, None), &offered, 0)
    }

    fn unknown() -> Verdict {
        Verdict::Unknown {
            others: vec![],
            certificate: None,
        }
    }

    fn at(line: usize) -> Place {
        Place {
            file: "kh".into(),
            line,
        }
    }

    #[test]
    fn plain_tab_separated_and_upper_case_entries_count() {
        for text in [
            format!("db1 {ED}"),
            format!("db1\t{}  a comment", ED.replace(' ', "\t")),
            format!("# c\n\n  DB1,x {ED}"),
        ] {
            assert_eq!(verdict(&text, "Db1", 22, ED), Verdict::Known, "{text}");
        }
        assert_eq!(verdict(&format!("db1 {ED}"), "db2", 22, ED), unknown());
        assert_eq!(verdict(&format!("#db1 {ED}"), "db1", 22, ED), unknown());
    }

    #[test]
    fn wildcards_and_negation() {
        let text = format!("10.0.0.*,!10.0.0.9,node-?? {ED}");
        assert_eq!(verdict(&text, "10.0.0.7", 22, ED), Verdict::Known);
        assert_eq!(verdict(&text, "node-07", 22, ED), Verdict::Known);
        for refused in ["10.0.0.9", "10.0.1.7", "node-7", "node-007"] {
            assert_eq!(verdict(&text, refused, 22, ED), unknown(), "{refused}");
        }
        assert_eq!(
            verdict(&format!("[*.example.net]:2222 {ED}"), "a.example.net", 2222, ED),
            Verdict::Known
        );
    }

    #[test]
    fn a_port_is_part_of_the_name_but_the_bare_name_vouches_too() {
        assert_eq!(
            verdict(&format!("[db1]:2222 {ED}"), "db1", 2222, ED),
            Verdict::Known
        );
        assert_eq!(verdict(&format!("[db1]:2222 {ED}"), "db1", 22, ED), unknown());
        assert_eq!(verdict(&format!("db1 {ED}"), "db1", 2222, ED), Verdict::Known);
        assert_eq!(verdict(&format!("db1 {ED}"), "db1", 2222, ED2), unknown());
        let both = format!("db1 {ED}\n[db1]:2222 {ED2}");
        assert_eq!(verdict(&both, "db1", 2222, ED), Verdict::Changed(at(2)));
    }

    #[test]
    fn hashed_entries_count() {
        let mut mac = Hmac::<Sha1>::new_from_slice(b"saltsaltsaltsaltsalt").unwrap();
        mac.update(b"db1");
        let hash: [u8; 20] = mac.finalize().into_bytes().into();
        let patterns = HostPatterns::HashedName {
            salt: b"saltsaltsaltsaltsalt".to_vec(),
            hash,
        };
        let text = format!("{} {ED}", patterns.to_string());
        assert_eq!(verdict(&text, "db1", 22, ED), Verdict::Known);
        assert_eq!(verdict(&text, "db2", 22, ED), unknown());
    }

    #[test]
    fn one_of_several_keys_of_a_type_is_enough_and_none_is_a_change() {
        let text = format!("db1 {ED}\ndb1 {ED2}");
        assert_eq!(verdict(&text, "db1", 22, ED2), Verdict::Known);
        assert_eq!(
            verdict(&format!("# x\ndb1 {ED}"), "db1", 22, ED2),
            Verdict::Changed(at(2))
        );
        assert_eq!(
            verdict(&format!("db1 {EC}"), "db1", 22, ED),
            Verdict::Unknown {
                others: vec![at(1)],
                certificate: None
            }
        );
    }

    #[test]
    fn revoked_wins_over_known() {
        let text = format!("db1 {ED}\n@revoked * {ED}");
        assert_eq!(verdict(&text, "db1", 22, ED), Verdict::Revoked(at(2)));
        assert_eq!(verdict(&text, "db1", 2222, ED), Verdict::Revoked(at(2)));
        assert_eq!(
            verdict(&format!("@revoked db2 {ED}\ndb1 {ED}"), "db1", 22, ED),
            Verdict::Known
        );
        assert_eq!(verdict(&format!("@strange db1 {ED}"), "db1", 22, ED), unknown());
        assert_eq!(
            verdict(&format!("@cert-authority db1 {ED}"), "db1", 22, ED),
            unknown()
        );
    }

    #[test]
    fn an_alias_stands_for_host_and_port() {
        let name = KeyName::new("10.0.0.1", 2222, Some("Cluster01"));
        assert_eq!(
            name,
            KeyName {
                exact: "cluster01".into(),
                bare: "cluster01".into()
            }
        );
    }

    #[test]
    fn known_types_are_negotiated_first_and_certificates_only_with_an_authority() {
        let name = KeyName::new("db1", 22, None);
        let preferred = known(&format!("db1 {EC}")).preferred(&name);
        assert!(matches!(preferred.key[0], Algorithm::Ecdsa { .. }));
        assert_eq!(preferred.key.len(), Preferred::DEFAULT.key.len());
        assert!(preferred.host_key_certificates.is_empty());
        let preferred = known(&format!("@cert-authority *.net,db? {EC}")).preferred(&name);
        assert!(!preferred.host_key_certificates.is_empty());
        assert!(matches!(preferred.key[0], Algorithm::Ed25519));
    }

    #[test]
    fn an_unreadable_file_is_not_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        assert!(KnownHosts::read(&[dir.path().to_path_buf()]).is_err());
        assert!(KnownHosts::read(&[dir.path().join("missing")]).is_ok());
    }
}
