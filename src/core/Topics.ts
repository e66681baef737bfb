/**
 * Who is subscribed to what.
 *
 * @since 1.0.0
 */

/**
 * Both directions of membership, kept together: a topic exists while it has members, and a member can leave all its
 * topics at once.
 *
 * @internal
 */
export class Topics<A extends object> {
  private readonly members = new Map<string, Set<A>>()
  private readonly joined = new WeakMap<A, Set<string>>()

  join(member: A, topic: string): void {
    const members = this.members.get(topic)
    if (members === undefined) this.members.set(topic, new Set([member]))
    else members.add(member)
    const joined = this.joined.get(member)
    if (joined === undefined) this.joined.set(member, new Set([topic]))
    else joined.add(topic)
  }

  leave(member: A, topic: string): void {
    this.joined.get(member)?.delete(topic)
    const members = this.members.get(topic)
    if (members !== undefined && members.delete(member) && members.size === 0) this.members.delete(topic)
  }

  leaveAll(member: A): void {
    for (const topic of this.joined.get(member) ?? []) this.leave(member, topic)
    this.joined.delete(member)
  }

  of(topic: string): ReadonlySet<A> {
    return this.members.get(topic) ?? nobody
  }

  /** Topics with at least one member. */
  names(): Array<string> {
    return Array.from(this.members.keys())
  }
}

const nobody: ReadonlySet<never> = new Set<never>()
