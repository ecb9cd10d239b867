//! What the tenants use that use most.

use std::{cmp::Reverse, fmt::Write as _, sync::Arc};

use crate::state::index::{Catalog, Slice, Tenant, Use};

/// One of the metrics: its name, what it is, what it is of, and whether it only grows.
type Metric = (&'static str, &'static str, fn(&Use) -> u64);

const COUNTERS: [Metric; 5] = [
    ("writes", "Changes that this node was asked to write", |used| used.writes),
    ("reads", "Requests that read", |used| used.reads),
    ("bytes", "Bytes of bodies and of answers", |used| used.bytes),
    ("refusals", "Requests refused for the quota", |used| used.refused),
    ("changes", "Changes applied, whichever node took them", |used| used.changes),
];

/// A tenant among those that are shown, and what it used.
struct Shown {
    tenant: Arc<Tenant>,
    used: Use,
}

/// What the `count` tenants used that used most, and all together, as Prometheus reads it. It goes through
/// all tenants, and so takes its time where there are many.
pub(in crate::api) fn of_tenants(catalog: &Catalog, count: usize) -> String {
    let (mut shown, mut all, mut after) = (Vec::new(), catalog.used_by_those_gone(), None);
    let most = |shown: &Shown| Reverse(shown.used.writes.saturating_add(shown.used.reads));
    loop {
        let Slice { entries, next } = catalog.tenants_after(after.as_deref(), usize::MAX);
        let used = entries.into_iter().filter_map(|tenant| {
            let used = tenant.meter.used()?;
            Some(Shown { tenant, used })
        });
        for one in used {
            all.add(&one.used);
            shown.push(one);
        }
        after = next;
        // No more are kept at any time than twice as many, and what is looked at at once.
        if (shown.len() > 2 * count || after.is_none()) && shown.len() > count {
            shown.select_nth_unstable_by_key(count, most);
            shown.truncate(count);
        }
        if after.is_none() {
            break;
        }
    }
    shown.sort_unstable_by_key(most);
    text(&shown, &all)
}

fn text(shown: &[Shown], all: &Use) -> String {
    let mut out = String::new();
    for (name, help, of) in COUNTERS {
        let name = format!("{name}_total");
        head(&mut out, &name, help, "counter");
        shown.iter().for_each(|one| put(&mut out, &name, &one.tenant, of(&one.used)));
        put_all(&mut out, &name, of(all));
    }
    head(&mut out, "waits", "Long-polls and streams that stand", "gauge");
    shown.iter().for_each(|one| put(&mut out, "waits", &one.tenant, one.used.waits));
    put_all(&mut out, "waits", all.waits);
    head(&mut out, "keys", "Live keys", "gauge");
    shown.iter().for_each(|one| put(&mut out, "keys", &one.tenant, one.tenant.keys()));
    out
}

// Writing to a string does not fail.

fn head(out: &mut String, name: &str, help: &str, kind: &str) {
    let name = format!("changeagent_tenant_{name}");
    let _ = writeln!(out, "# HELP {name} {help}.\n# TYPE {name} {kind}");
}

/// The names of tenants have no character that would have to be escaped.
fn put(out: &mut String, name: &str, tenant: &Tenant, value: u64) {
    let (id, called) = (tenant.id, &tenant.name);
    let _ = writeln!(out, "changeagent_tenant_{name}{{tenant=\"{id}\",name=\"{called}\"}} {value}");
}

fn put_all(out: &mut String, name: &str, value: u64) {
    let _ = writeln!(out, "changeagent_tenant_{name}{{tenant=\"all\",name=\"\"}} {value}");
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn those_with_most_use_are_shown_and_all_are_summed() {
        let catalog = Catalog::default();
        for n in 0..1_000 {
            catalog.add_tenant(Uuid::from_u128(n), &format!("t{n}"));
        }
        let meter = |n: u128| Arc::clone(&catalog.tenant(Uuid::from_u128(n)).unwrap().meter);
        for n in 0..900 {
            (0..n).for_each(|_| meter(n).read(0).unwrap());
        }
        meter(3).write(5_000, 0).unwrap();
        let text = of_tenants(&catalog, 3);
        let lines = |start: &str| -> Vec<&str> {
            text.lines().filter_map(|line| line.strip_prefix(start)).collect()
        };
        let id = |n: u128| Uuid::from_u128(n);
        let want = [
            format!("{{tenant=\"{}\",name=\"t3\"}} 3", id(3)),
            format!("{{tenant=\"{}\",name=\"t899\"}} 899", id(899)),
            format!("{{tenant=\"{}\",name=\"t898\"}} 898", id(898)),
            format!("{{tenant=\"all\",name=\"\"}} {}", 899 * 900 / 2),
        ];
        assert_eq!(lines("changeagent_tenant_reads_total"), want);
        assert_eq!(lines("changeagent_tenant_keys").len(), 3);
        assert_eq!(lines("# TYPE ").len(), 7);
        assert!(of_tenants(&catalog, 5_000).lines().count() > 6 * 899);
    }
}
