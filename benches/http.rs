//! What HTTP itself costs: taking a typical write apart, and putting its answer
//! together.

use changeagent::{
    base::limits::Limits,
    http::{Connection, Context, DateText, Event, Response},
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::{hint::black_box, rc::Rc, time::Instant};

/// A write as a client library sends it, with a body of 256 bytes.
fn post() -> Vec<u8> {
    let text = "x".repeat(256 - r#"{"data":{"text":""}}"#.len());
    let body = format!(r#"{{"data":{{"text":"{text}"}}}}"#);
    let head = "POST /changes HTTP/1.1\r\nHost: 127.0.0.1:9000\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\nContent-Type: application/json\r\nContent-Length: 256\r\n\r\n";
    [head, &body].concat().into_bytes()
}

fn context() -> Rc<Context> {
    let context = Context::new(Limits::default(), DateText::from_unix_seconds(0));
    Rc::new(context.with_common_headers(|fields| {
        fields.number("ChangeAgent-Last", 123);
        fields.text("ChangeAgent-Cluster", "6f1c2a3e-58b1-4e0f-9d55-0c4be2f6a771");
    }))
}

fn write(connection: &mut Connection, now: Instant) {
    while let Some(slices) = connection.poll_transmit() {
        let count = slices.iter().map(|slice| black_box(*slice).len()).sum();
        connection.transmitted(count, now);
    }
}

fn created() -> Response {
    Response::json(201, &b"{\"_id\":123}"[..]).with_header("Location", "/changes/123")
}

fn exchange(c: &mut Criterion) {
    let now = Instant::now();
    let raw = post();
    let mut group = c.benchmark_group("http");
    group.throughput(Throughput::Elements(1));
    let context = context();
    group.bench_function("POST of 256 B, parse", |b| {
        let idle = || Connection::new(Rc::clone(&context), now);
        let parse = |mut connection: Connection| {
            connection.receive(black_box(&raw));
            let event = connection.poll_event(now);
            (connection, event)
        };
        b.iter_batched(idle, parse, BatchSize::SmallInput);
    });
    group.bench_function("201 with an id, encode", |b| {
        let asked = || {
            let mut connection = Connection::new(Rc::clone(&context), now);
            connection.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            black_box(connection.poll_event(now));
            connection
        };
        let answer = |mut connection: Connection| {
            connection.respond(created(), now);
            connection
        };
        b.iter_batched(asked, answer, BatchSize::SmallInput);
    });
    group.bench_function("POST of 256 B, whole exchange", |b| {
        let mut connection = Connection::new(Rc::clone(&context), now);
        b.iter(|| {
            connection.receive(black_box(&raw));
            if let Some(Event::Request(request)) = connection.poll_event(now) {
                black_box(request.into_body());
            }
            connection.respond(created(), now);
            write(&mut connection, now);
        });
    });
    group.finish();
}

criterion_group!(benches, exchange);
criterion_main!(benches);
