//! How often the operations between the calls allocate: a number that does not
//! depend on the machine, and rises before the time does.

#[path = "../benches/hot/operations.rs"]
mod operations;

/// So many allocations each, of a debug build; fewer are a reason to lower the number.
const ALLOCATIONS: [(&str, u64); 15] = [
    ("payload of 80 bytes", 2),
    ("payload of 4 KB", 2),
    ("payload of a form", 17),
    ("token, its hash compared", 2),
    ("idempotency key", 1),
    ("task key of an idempotency key", 0),
    ("task id made", 0),
    ("task id written, and its key", 2),
    ("task id read, and its key", 0),
    ("prompt", 86),
    ("plain prompt, and that it is", 82),
    ("reply of a model, 2 KB", 10),
    ("secrets removed from 2 KB", 0),
    ("end written", 3),
    ("end read", 6),
];

#[test]
fn the_operations_between_the_calls_allocate_as_often_as_is_known() {
    let counted: Vec<(&str, u64)> = operations::all()
        .unwrap()
        .iter()
        .map(|operation| {
            // What is made once for the process is not counted.
            (operation.run)();
            (
                operation.name,
                allocation_counter::measure(|| (operation.run)()).count_total,
            )
        })
        .collect();
    assert_eq!(counted, ALLOCATIONS);
}
