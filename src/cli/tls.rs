//! `changeagent tls self-signed`: certificates for a first try, of a root that signs nothing else.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use clap::{Args, Subcommand};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use uuid::Uuid;

use super::failure::Failure;
use crate::io::cores;

/// How long they are valid.
const DAYS: u64 = 365;
/// They are valid from a little earlier on, since clocks differ.
const EARLIER: Duration = Duration::from_secs(3_600);
/// Without `--name`.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a root, and a certificate of it with its key, for a first try: valid for a year
    SelfSigned(Arguments),
}

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The directory for ca.pem, cert.pem and key.pem, made if it is missing; none of them may be there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A name or an IP address under which nodes are reached, repeatable [default: localhost, 127.0.0.1
    /// and ::1]
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<Name>,
}

/// A name that a certificate may have, or an address.
#[derive(Clone, Debug)]
struct Name(String);

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_label = |label: &str| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            (1..=63).contains(&label.len()) && label.bytes().all(fits)
        };
        let is_name = text.len() <= 253 && text.split('.').all(is_label);
        match text.parse::<IpAddr>().is_ok() || is_name {
            true => Ok(Self(text.to_owned())),
            false => Err(format!("{text:?} is neither the name of a host nor an IP address")),
        }
    }
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    let Command::SelfSigned(Arguments { out, names }) = command;
    let mut names: Vec<&str> = names.iter().map(|name| name.0.as_str()).collect();
    if names.is_empty() {
        names.extend(NAMES);
    }
    let files = ["ca.pem", "cert.pem", "key.pem"].map(|name| out.join(name));
    if let Some(there) = files.iter().find(|file| file.symlink_metadata().is_ok()) {
        let error = format!("{} is there already: nothing is overwritten", there.display());
        return Err(Failure::Other(error));
    }
    let made = make(&names).map_err(|error| Failure::Other(format!("no certificate: {error}")))?;
    fs::create_dir_all(out).map_err(Failure::file(out))?;
    let [ca, certificate, key] = &files;
    put(ca, 0o644, &made.root)?;
    put(certificate, 0o644, &made.certificate)?;
    put(key, 0o600, &made.key)?;
    let text = format!(
        "made for {}, valid for {DAYS} days:\n  {}  the root, for --ca: its key is kept nowhere\n  \
         {}  the certificate, for --tls-cert\n  {}  its key, for --tls-key\n",
        names.join(", "),
        ca.display(),
        certificate.display(),
        key.display()
    );
    io::stdout().write_all(text.as_bytes()).map_err(Failure::output)
}

/// Writes a file that must not be there yet.
fn put(path: &Path, mode: u32, text: &str) -> Result<(), Failure> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = file.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(Failure::file(path))
}

/// PEM of what is made.
struct Made {
    root: String,
    certificate: String,
    key: String,
}

fn make(names: &[&str]) -> Result<Made, rcgen::Error> {
    let now = Duration::from_micros(cores::wall_micros());
    let dated = |mut parameters: CertificateParams| {
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        parameters.not_before = epoch + now.saturating_sub(EARLIER);
        parameters.not_after = epoch + now + Duration::from_secs(DAYS * 86_400);
        parameters
    };
    let mut root = dated(CertificateParams::default());
    root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // Each has its own name: else who is shown another's certificate could not tell what is wrong.
    let name = format!("ChangeAgent self-signed root {}", Uuid::new_v4());
    root.distinguished_name.push(DnType::CommonName, name);
    let root_key = KeyPair::generate()?;
    let root_certificate = root.self_signed(&root_key)?;
    let issuer = Issuer::new(root, root_key);

    let mut parameters = dated(CertificateParams::default());
    for name in names {
        parameters.subject_alt_names.push(match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName((*name).try_into()?),
        });
    }
    parameters.distinguished_name.push(DnType::CommonName, "ChangeAgent");
    parameters.use_authority_key_identifier_extension = true;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // A node shows it to clients, and to other nodes, which it also connects to.
    parameters.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate()?;
    let certificate = parameters.signed_by(&key, &issuer)?;
    Ok(Made {
        root: root_certificate.pem(),
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}
