<?php
// An Ingest API as the manual of PHP would write it. `php -S` sends every request here.

header('Content-Type: application/json');
if ($_SERVER['REQUEST_URI'] !== '/api/v1/chunks') {
    http_response_code(404);
    exit('{"error": "not found"}');
}
if (($_SERVER['HTTP_AUTHORIZATION'] ?? '') !== 'Bearer ' . getenv('TOKEN')) {
    http_response_code(401);
    exit('{"error": "invalid token"}');
}
$file = $_FILES['chunk_file'] ?? null;
if ($file === null || $file['error'] !== UPLOAD_ERR_OK) {
    http_response_code(400);
    exit('{"error": "no chunk_file"}');
}
$data = file_get_contents($file['tmp_name']);
$line = sprintf("%s %d %s\n", $_POST['start_ts'], strlen($data), hash('sha256', $data));
file_put_contents(getenv('UPLOADS') . '/received.txt', $line, FILE_APPEND | LOCK_EX);
echo json_encode(['status' => 'ok', 'chunk_id' => uniqid()]);
