/**
 * The clients of this node, by their id and by their user.
 *
 * @since 1.0.0
 */
import type { Session } from "./Session.js"

/** @internal */
export class Roster {
  /** All, those that have not connected yet included, by the connection's id. */
  readonly sessions = new Map<number, Session>()
  private readonly clients = new Map<string, Session>()
  private readonly users = new Map<string, Set<Session>>()

  open(session: Session): void {
    this.sessions.set(session.connection.id, session)
  }

  /** The session knows its user. */
  add(session: Session): void {
    this.clients.set(session.client, session)
    const others = this.users.get(session.user)
    if (others === undefined) this.users.set(session.user, new Set([session]))
    else others.add(session)
  }

  /** Nothing is left of the session. */
  remove(session: Session): void {
    this.sessions.delete(session.connection.id)
    this.leave(session)
  }

  /** The session's end is decided. */
  leave(session: Session): void {
    this.clients.delete(session.client)
    const others = this.users.get(session.user)
    if (others?.delete(session) === true && others.size === 0) this.users.delete(session.user)
  }

  client(id: string): Session | undefined {
    return this.clients.get(id)
  }

  /** A user's sessions, or the one that is meant. */
  of(user: string, client?: string): ReadonlyArray<Session> {
    const sessions = [...this.users.get(user) ?? []]
    return client === undefined || client === "" ? sessions : sessions.filter((session) => session.client === client)
  }

  get counts(): { readonly clients: number; readonly users: number } {
    return { clients: this.clients.size, users: this.users.size }
  }
}
