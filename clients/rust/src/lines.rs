//! An answer line by line, as its lines come.

use crate::{
    connector::Connector,
    core::{Core, Exchange, NDJSON, Request, cluster_of, refuse},
    error::Error,
};

/// The complete lines of an answer, as they come.
pub(crate) struct Lines<T> {
    exchange: Exchange<T>,
    rest: Vec<u8>,
    /// The history that they are of.
    pub(crate) cluster: String,
}

impl<T> Lines<T> {
    /// Sends a request; the answer must be of the history `cluster`, if it is known.
    pub(crate) async fn open<C: Connector<Connection = T>>(
        core: &Core<C>,
        node: usize,
        mut request: Request,
        cluster: Option<&str>,
    ) -> Result<Self, Error> {
        request.accept = NDJSON;
        let exchange = core.exchange(node, &request).await?;
        let head = exchange.answer.head().cloned().unwrap_or_default();
        if head.status != 200 {
            refuse(&core.reply(exchange, request.wait).await?)?;
            let what = format!("an answer to a read has the status {}", head.status);
            return Err(Error::Broken(what));
        }
        let cluster = cluster_of(&head, cluster)?;
        Ok(Self { exchange, rest: Vec::new(), cluster })
    }

    /// The next lines without empty ones, perhaps none; nothing after the last.
    /// No line is lost if it is given up.
    pub(crate) async fn next<C: Connector<Connection = T>>(
        &mut self,
        core: &Core<C>,
    ) -> Result<Option<Vec<Vec<u8>>>, Error> {
        let mut part = self.exchange.answer.take();
        if part.is_empty() {
            if self.exchange.answer.is_done() {
                return if self.rest.is_empty() {
                    Ok(None)
                } else {
                    Err(Error::Broken("a stream ended in the middle of a line".into()))
                };
            }
            core.receive(&mut self.exchange, core.options.silence).await?;
            part = self.exchange.answer.take();
        }
        self.rest.extend(part);
        if self.rest.len() > core.options.answer_bytes_max {
            return Err(Error::TooLong);
        }
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(Some(Vec::new()));
        };
        let rest = self.rest.split_off(end + 1);
        let complete = std::mem::replace(&mut self.rest, rest);
        let lines =
            complete.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
        Ok(Some(lines.map(<[u8]>::to_vec).collect()))
    }

    /// Gives the connection back.
    pub(crate) fn close<C: Connector<Connection = T>>(self, core: &Core<C>) {
        core.release(self.exchange);
    }
}
