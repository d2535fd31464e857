use super::*;

#[repr(C)]
struct Node {
    link: Link,
    value: u32,
}

// SAFETY: `repr(C)`, and the link comes first.
unsafe impl Linked for Node {}

fn node(value: u32) -> NonNull<Node> {
    NonNull::from(Box::leak(Box::new(Node { link: Link::new(), value })))
}

fn free(node: NonNull<Node>) -> u32 {
    // SAFETY: every node of these tests comes from `node` and is freed once, when it is in no queue.
    unsafe { Box::from_raw(node.as_ptr()) }.value
}

#[test]
fn takes_in_the_order_of_pushes() {
    let inbox = Inbox::new();
    assert!(inbox.is_empty());
    for value in 0..5 {
        // SAFETY: a fresh node each time.
        unsafe { inbox.push(node(value)) }.unwrap();
    }
    assert!(!inbox.is_empty());
    // SAFETY: one thread only.
    let values: Vec<u32> = unsafe { inbox.take() }.map(free).collect();
    assert_eq!(values, [0, 1, 2, 3, 4]);
    assert!(inbox.is_empty());
    // SAFETY: as above.
    assert_eq!(unsafe { inbox.take() }.count(), 0);
}

#[test]
fn a_node_may_be_pushed_again_while_its_batch_is_read() {
    let inbox = Inbox::new();
    for value in 0..3 {
        // SAFETY: a fresh node each time.
        unsafe { inbox.push(node(value)) }.unwrap();
    }
    // SAFETY: one thread only; a node that was handed out is in no queue.
    unsafe {
        for node in inbox.take() {
            inbox.push(node).unwrap();
        }
    }
    // SAFETY: as above.
    let values: Vec<u32> = unsafe { inbox.take() }.map(free).collect();
    assert_eq!(values, [0, 1, 2]);
}

#[test]
fn closing_returns_the_rest_and_refuses_what_follows() {
    let inbox = Inbox::new();
    // SAFETY: fresh nodes, one thread only.
    unsafe {
        inbox.push(node(1)).unwrap();
        assert_eq!(inbox.close().map(free).collect::<Vec<_>>(), [1]);
        let late = node(2);
        assert_eq!(inbox.push(late), Err(Closed));
        assert_eq!(free(late), 2);
        assert!(inbox.is_empty());
        assert_eq!(inbox.take().count(), 0);
        assert_eq!(inbox.close().count(), 0);
    }
}

#[test]
#[cfg(debug_assertions)]
fn an_unfinished_batch_is_loud() {
    let inbox = Inbox::new();
    let lost = node(7);
    // SAFETY: a fresh node, one thread only.
    let dropped = std::panic::catch_unwind(|| unsafe {
        inbox.push(lost).unwrap();
        drop(inbox.take());
    });
    assert!(dropped.is_err());
    assert_eq!(free(lost), 7);
}

#[test]
fn crosses_threads_whatever_its_nodes_are() {
    #[repr(C)]
    struct NotSend(Link, *const ());
    // SAFETY: `repr(C)`, and the link comes first.
    unsafe impl Linked for NotSend {}
    fn crosses<T: Send + Sync>() {}
    crosses::<Inbox<NotSend>>();
}
