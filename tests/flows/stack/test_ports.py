import socket

from flows.stack.stack import listen


def test_the_preferred_port_is_taken_where_it_is_free():
    with listen(0) as ear:
        port = ear.getsockname()[1]
    with listen(port) as ear:
        assert ear.getsockname() == ("127.0.0.1", port)


def test_a_port_in_use_is_passed_over_even_before_its_owner_answers():
    with listen(0) as first, listen(first.getsockname()[1]) as second:
        assert first.getsockname() != second.getsockname()


def test_what_is_asked_before_the_server_answers_waits():
    with listen(0) as ear, socket.create_connection(ear.getsockname()) as caller:
        caller.sendall(b"early")
        with ear.accept()[0] as answered:
            assert answered.recv(5) == b"early"
