//! Any bytes, in any pieces, are understood alike and survived.

#[path = "support/http_any.rs"]
mod http_any;

use proptest::{collection::vec, prelude::*, sample::select};

/// What messages, good and bad, are made of.
const TOKENS: &[&[u8]] = &[
    b"GET ",
    b"POST ",
    b"HEAD ",
    b"OPTIONS ",
    b"/",
    b"/a%2Fb?c=d+e",
    b"*",
    b"http://h:1/x",
    b" HTTP/1.1",
    b" HTTP/1.0",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b"Host: a\r\n",
    b"Host: ",
    b"Content-Length: ",
    b"5",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Expect: 100-continue\r\n",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"5;x=y\r\n",
    b"hello",
    b": ",
    b" ",
    b"\t",
    b"GET / HTTP/1.1\r\nHost: a\r\n",
    b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn arbitrary_bytes(input in vec(any::<u8>(), 0..1000)) {
        http_any::feed(&input);
    }

    #[test]
    fn arbitrary_tokens(lengths in any::<[u8; 4]>(), tokens in vec(select(TOKENS), 0..40)) {
        http_any::feed(&[&lengths[..], &tokens.concat()].concat());
    }
}
