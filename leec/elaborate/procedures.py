def elaborate_procedure(session, home, item): pass
