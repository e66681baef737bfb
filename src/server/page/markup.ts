/**
 * The page's HTML.
 */

const icon =
  "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' " +
  "r='3' fill='%234f46e5'/%3E%3Ccircle cx='8' cy='8' r='6.5' fill='none' stroke='%234f46e5' stroke-width='1.5'/%3E%3C/svg%3E"

/**
 * One document, which loads nothing.
 */
export const markup = (style: string, script: string): string =>
  `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>effect-ws-hub</title>
<link rel="icon" href="${icon}">
<style>${style}</style>
</head>
<body>
<header>
  <h1>effect-ws-hub</h1>
  <form id="room-form">
    <label for="room">Room</label>
    <input id="room" maxlength="64" pattern="[A-Za-z0-9_\\-]+" required spellcheck="false" autocomplete="off"
      autocapitalize="none" title="1 to 64 letters (A to Z, a to z), digits, hyphens and underscores">
    <button type="submit">Join</button>
  </form>
  <p id="state" role="status" data-state="connecting">
    <span class="dot" aria-hidden="true"></span><span id="status">Connecting</span>
    <span id="count" title="Connections in this room"></span>
  </p>
</header>
<main>
  <div id="scroller" tabindex="0" role="region" aria-label="Messages">
    <p id="empty">Nothing has been said since you came. Open this page in a second tab: what one sends, both see.</p>
    <ol id="log" role="log" aria-live="polite" aria-label="Messages"></ol>
  </div>
</main>
<footer>
  <form id="say">
    <label class="unseen" for="text">Message</label>
    <input id="text" autocomplete="off" placeholder="Message to everyone in the room">
    <input class="unseen" id="file" type="file" disabled>
    <label class="button" id="attach" for="file" title="Send a file as one binary message">File</label>
    <button id="send" type="submit" disabled>Send</button>
  </form>
</footer>
<noscript><p class="noscript">This page needs JavaScript: it talks to the hub over a WebSocket.</p></noscript>
<script type="module">${script}</script>
</body>
</html>
`
