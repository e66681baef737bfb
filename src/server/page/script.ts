/**
 * The page's script. A string, because it runs in browsers and the page holds it as it stands.
 */
export const script = `
const $ = (id) => document.getElementById(id)
const [room, log, empty, scroller, text, file, send] =
  ["room", "log", "empty", "scroller", "text", "file", "send"].map($)
const isRoom = (name) => /^[A-Za-z0-9_-]{1,64}$/.test(name)
const plural = (n, one) => n.toLocaleString("en") + " " + one + (n === 1 ? "" : "s")
const keptLines = 500

/**
 * Keeps a WebSocket to a path: when it ends, it is opened again, after a time that doubles from half a second to half a
 * minute and of which a random half is taken off, so that many pages do not return at once. Not while nobody looks.
 */
const keep = (path, on) => {
  const url = location.origin.replace(/^http/, "ws") + path
  let socket, timer, failures = 0, openedAt = 0, stopped = false
  const open = () => {
    clearTimeout(timer)
    timer = undefined
    on.connecting()
    const current = socket = new WebSocket(url)
    current.binaryType = "arraybuffer"
    current.onopen = () => {
      openedAt = performance.now()
      on.open()
    }
    current.onmessage = (event) => stopped || on.message(event.data)
    current.onclose = (event) => {
      if (stopped) return
      if (openedAt > 0 && performance.now() - openedAt > 5000) failures = 0
      const wasOpen = openedAt > 0
      openedAt = 0
      const longest = Math.min(30000, 500 * 2 ** failures++)
      const delay = longest * (1 - Math.random() / 2)
      on.closed(event, delay, wasOpen)
      timer = setTimeout(() => {
        timer = "due"
        if (!document.hidden) open()
      }, delay)
    }
  }
  const look = () => {
    if (timer === "due" && !document.hidden && !stopped) open()
  }
  const online = () => {
    if (timer !== undefined && !document.hidden && !stopped) open()
  }
  document.addEventListener("visibilitychange", look)
  addEventListener("online", online)
  open()
  return {
    send: (data) => {
      if (socket.readyState !== WebSocket.OPEN) return false
      socket.send(data)
      return true
    },
    stop: () => {
      stopped = true
      if (timer !== "due") clearTimeout(timer)
      document.removeEventListener("visibilitychange", look)
      removeEventListener("online", online)
      socket.close(1000)
    }
  }
}

const show = (kind, ...content) => {
  const atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 40
  const line = document.createElement("li")
  if (kind !== "") line.className = kind
  line.append(...content)
  log.append(line)
  empty.hidden = true
  while (log.children.length > keptLines) {
    for (const link of log.firstChild.querySelectorAll("a")) URL.revokeObjectURL(link.href)
    log.firstChild.remove()
  }
  if (atEnd || kind === "mine") scroller.scrollTop = scroller.scrollHeight
}

const showBinary = (bytes) => {
  const preview = document.createElement("code")
  preview.textContent = Array.from(new Uint8Array(bytes, 0, Math.min(16, bytes.byteLength)),
    (byte) => byte.toString(16).padStart(2, "0")).join(" ") + (bytes.byteLength > 16 ? " \\u2026" : "")
  const link = document.createElement("a")
  link.href = URL.createObjectURL(new Blob([bytes]))
  link.download = "message.bin"
  link.textContent = "save"
  show("", "Binary, " + plural(bytes.byteLength, "byte") + " (", link, ")", preview)
}

const setState = (state, status) => {
  $("state").dataset.state = state
  $("status").textContent = status
  const closed = state !== "open"
  file.disabled = send.disabled = closed
  $("attach").setAttribute("aria-disabled", String(closed))
}

/** What was sent and did not come back yet: everyone in a room gets each message, its sender too. */
let pending = []

const join = (name) => {
  pending = []
  document.title = name + " \\u00b7 effect-ws-hub"
  const talk = keep("/rooms/" + name, {
    connecting: () => setState("connecting", "Connecting"),
    open: () => setState("open", "Connected"),
    message: (data) => {
      if (typeof data !== "string") return showBinary(data)
      const mine = data === pending[0]
      if (mine) pending.shift()
      show(mine ? "mine" : "", data)
    },
    closed: (event, delay, wasOpen) => {
      pending = []
      setState("closed", "Disconnected")
      if (!wasOpen) return
      const why = event.reason === "" ? "" : ": " + event.reason
      show("note", "Disconnected (" + event.code + why + "). The page keeps trying.")
    }
  })
  const stats = keep("/stats/" + name, {
    connecting: () => {},
    open: () => {},
    message: (data) => {
      $("count").textContent = plural(JSON.parse(data).connections, "connection")
    },
    closed: () => {
      $("count").textContent = ""
    }
  })
  return {
    name,
    send: talk.send,
    leave: () => {
      talk.stop()
      stats.stop()
      $("count").textContent = ""
    }
  }
}

const named = () => {
  const name = location.hash.slice(1)
  return isRoom(name) ? name : "lobby"
}

room.value = named()
let current = join(named())

addEventListener("hashchange", () => {
  room.value = named()
  if (named() === current.name) return
  current.leave()
  log.replaceChildren()
  empty.hidden = false
  current = join(named())
})

$("room-form").addEventListener("submit", (event) => {
  event.preventDefault()
  location.hash = room.value
})

$("say").addEventListener("submit", (event) => {
  event.preventDefault()
  if (text.value === "" || !current.send(text.value)) return
  pending.push(text.value)
  text.value = ""
})

file.addEventListener("change", async () => {
  const [chosen] = file.files
  if (chosen !== undefined && !current.send(await chosen.arrayBuffer())) show("note", "The file was not sent.")
  file.value = ""
})
`
