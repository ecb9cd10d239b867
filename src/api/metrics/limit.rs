//! What requests and connections can be refused for.

use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

/// A limit that requests or connections can be refused for, named as its flag
/// where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Connections of the node.
    Connections,
    /// Bytes of requests and answers that are held.
    Held,
    /// The size of a request head.
    Head,
    /// The size of a request body.
    Body,
    /// The size of one change's data.
    Data,
    /// Changes of one batch.
    Batch,
    /// The nesting of JSON.
    Depth,
    /// Writes that wait.
    Writes,
    /// Handshakes of TLS.
    Handshakes,
    /// Wrong tokens of an address, or of a token.
    WrongTokens,
    /// Changes that a tenant may write each second.
    QuotaWrites,
    /// Requests of a tenant that read each second.
    QuotaReads,
    /// Long-polls and streams of a tenant.
    QuotaWaits,
    /// Bytes of a tenant each second.
    QuotaBytes,
}

impl Limit {
    /// Each with its name, in the order of their numbers.
    pub(super) const ALL: [(Self, &'static str); 14] = [
        (Self::Connections, "max-connections"),
        (Self::Held, "max-held"),
        (Self::Head, "max-head"),
        (Self::Body, "max-body"),
        (Self::Data, "max-data"),
        (Self::Batch, "max-batch"),
        (Self::Depth, "max-depth"),
        (Self::Writes, "waiting-writes"),
        (Self::Handshakes, "handshakes"),
        (Self::WrongTokens, "wrong-tokens"),
        (Self::QuotaWrites, "quota-writes"),
        (Self::QuotaReads, "quota-reads"),
        (Self::QuotaWaits, "quota-waits"),
        (Self::QuotaBytes, "quota-bytes"),
    ];
}

impl EncodeLabelValue for Limit {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        let (_, name) = Self::ALL[*self as usize];
        EncodeLabelValue::encode(&name, encoder)
    }
}
