//! How often the operations between the calls allocate: a number that does not
//! depend on the machine, and rises before the time does.

#[path = "../benches/hot/operations.rs"]
mod operations;

/// At most so many allocations each; fewer are a reason to lower the number.
const ALLOCATIONS: [(&str, u64); 12] = [
    ("payload of 80 bytes", 0),
    ("payload of 4 KB", 0),
    ("payload of a form", 0),
    ("token, its hash compared", 0),
    ("idempotency key", 0),
    ("task key of an idempotency key", 0),
    ("task id made", 0),
    ("task id written, and its key", 0),
    ("task id read, and its key", 0),
    ("prompt", 0),
    ("end written", 0),
    ("end read", 0),
];

#[test]
fn the_operations_between_the_calls_allocate_as_often_as_is_known() {
    let counted: Vec<(&str, u64)> = operations::all()
        .unwrap()
        .iter()
        .map(|operation| {
            // What is made once for the process is not counted.
            (operation.run)();
            (operation.name, allocation_counter::measure(|| (operation.run)()).count_total)
        })
        .collect();
    assert_eq!(counted, ALLOCATIONS);
}
