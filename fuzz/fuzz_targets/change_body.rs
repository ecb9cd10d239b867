//! Any bytes as the body of a write: no panic, and what is accepted keeps the
//! bounds that the log relies on.
#![no_main]

use changeagent::api::body::{Scope, parse};
use changeagent::api::request::content_type::Form;
use changeagent::base::batch::{Batch, encode};
use changeagent::base::ids::Timestamp;
use changeagent::base::limits::Limits;
use changeagent::state::index::Catalog;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for form in [Form::Json, Form::Ndjson] {
        match parse(bytes, form, &Limits::default(), &Scope::default(), &Catalog::default()) {
            Ok(body) => {
                assert!(body.append.tails.len() <= bytes.len());
                let Ok(batch) = Batch::parse(encode(&[body.append.into()], Timestamp(1))) else {
                    panic!("an accepted body is a valid batch");
                };
                for n in 0..batch.changes() {
                    let tail = batch.change(n).tail;
                    assert!(!tail.contains(&b'\n'));
                    let change = [b"{\"_id\":1", tail].concat();
                    assert!(serde_json::from_slice::<&serde_json::value::RawValue>(&change).is_ok());
                }
            }
            Err(error) => assert!(error.offset <= bytes.len()),
        }
    }
});
