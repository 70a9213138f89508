// A regtest node of Bitcoin Core without network, wallet or RPC: chain state and mempool, in process.
//
// Only this file sees Core's headers; `src/ffi.rs` declares the same functions. Every function is
// `noexcept` towards its caller: an exception that would cross the border becomes JUDGE_BROKEN with
// its text. Text goes into buffers of the caller, cut to their size and ended by a zero byte.
//
// A node is used by one thread at a time. Mock time belongs to the process, not to the node.

#include <chainparams.h>
#include <consensus/validation.h>
#include <kernel/caches.h>
#include <kernel/chainparams.h>
#include <kernel/context.h>
#include <kernel/notifications_interface.h>
#include <logging.h>
#include <node/blockstorage.h>
#include <node/chainstate.h>
#include <policy/packages.h>
#include <primitives/block.h>
#include <primitives/transaction.h>
#include <streams.h>
#include <txmempool.h>
#include <util/signalinterrupt.h>
#include <util/task_runner.h>
#include <util/time.h>
#include <util/translation.h>
#include <validation.h>
#include <validationinterface.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

constexpr int JUDGE_OK{0};
constexpr int JUDGE_REFUSED{1};
constexpr int JUDGE_BROKEN{-1};

void put(const std::string& text, char* out, size_t cap)
{
    if (cap == 0) return;
    const size_t n{std::min(text.size(), cap - 1)};
    std::memcpy(out, text.data(), n);
    out[n] = '\0';
}

// Core calls this for every block that it tried to connect, and for blocks that failed before.
class Verdicts final : public CValidationInterface
{
public:
    std::string m_first_refusal;
    bool m_refused{false};

    void clear()
    {
        m_first_refusal.clear();
        m_refused = false;
    }

    void BlockChecked(const std::shared_ptr<const CBlock>&, const BlockValidationState& state) override
    {
        if (state.IsValid() || m_refused) return;
        m_refused = true;
        m_first_refusal = state.ToString();
    }
};

// Bytes that are no transaction are refused as such, in bitcoind's words; they are no failure of ours.
struct NotDecoded final : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// A fatal error of Core (a full disk, say) must not look like a verdict.
class Alarms final : public kernel::Notifications
{
public:
    std::string m_fatal;
    void flushError(const bilingual_str& message) override { m_fatal = message.original; }
    void fatalError(const bilingual_str& message) override { m_fatal = message.original; }
};

// Reads one object after another, and nothing may be left over.
class Bytes
{
public:
    Bytes(const uint8_t* bytes, size_t len) : m_reader{std::span{bytes, len}} {}

    CTransactionRef tx()
    {
        try {
            return std::make_shared<const CTransaction>(deserialize, TX_WITH_WITNESS, m_reader);
        } catch (const std::exception&) {
            throw NotDecoded{"TX decode failed"};
        }
    }

    std::shared_ptr<CBlock> block()
    {
        auto block{std::make_shared<CBlock>()};
        try {
            m_reader >> TX_WITH_WITNESS(*block);
        } catch (const std::exception&) {
            throw NotDecoded{"Block decode failed"};
        }
        return block;
    }

    void end()
    {
        if (!m_reader.empty()) throw std::runtime_error("bytes are left over");
    }

private:
    SpanReader m_reader;
};

CTransactionRef read_tx(const uint8_t* bytes, size_t len)
{
    Bytes reader{bytes, len};
    auto tx{reader.tx()};
    reader.end();
    return tx;
}

std::shared_ptr<CBlock> read_block(const uint8_t* bytes, size_t len)
{
    Bytes reader{bytes, len};
    auto block{reader.block()};
    reader.end();
    return block;
}

} // namespace

// Order matters: members are destroyed from the last to the first, and each uses those above it.
struct judge_node {
    kernel::Context m_context;
    util::SignalInterrupt m_interrupt;
    Alarms m_alarms;
    std::unique_ptr<const CChainParams> m_params{CChainParams::RegTest({})};
    ValidationSignals m_signals{std::make_unique<util::ImmediateTaskRunner>()};
    Verdicts m_verdicts;
    std::unique_ptr<CTxMemPool> m_mempool;
    std::unique_ptr<ChainstateManager> m_chainman;

    explicit judge_node(const std::string& dir)
    {
        const fs::path data{fs::PathFromString(dir)};
        const fs::path blocks{data / "blocks"};
        fs::create_directories(blocks);
        m_signals.RegisterValidationInterface(&m_verdicts);

        bilingual_str error;
        CTxMemPool::Options pool_options{};
        // Core checks its mempool's own invariants after every change.
        pool_options.check_ratio = 1;
        pool_options.signals = &m_signals;
        m_mempool = std::make_unique<CTxMemPool>(pool_options, error);
        if (!error.empty()) throw std::runtime_error(error.original);

        ChainstateManager::Options chain_options{
            .chainparams = *m_params,
            .datadir = data,
            .notifications = m_alarms,
            .signals = &m_signals,
        };
        chain_options.worker_threads_num = 0;
        chain_options.prevoutfetch_threads_num = 0;
        chain_options.script_execution_cache_bytes = 1 << 20;
        chain_options.signature_cache_bytes = 1 << 20;
        node::BlockManager::Options block_options{
            .chainparams = *m_params,
            .use_xor = false,
            // Small block files: a node of a test is not to preallocate 16 MB.
            .fast_prune = true,
            .blocks_dir = blocks,
            .notifications = m_alarms,
            .block_tree_db_params = DBParams{
                .path = data / "index",
                .cache_bytes = 1 << 20,
                .memory_only = true,
            },
        };
        m_chainman = std::make_unique<ChainstateManager>(m_interrupt, chain_options, block_options);

        node::ChainstateLoadOptions load{};
        load.mempool = m_mempool.get();
        load.coins_db_in_memory = true;
        auto [status, why]{node::LoadChainstate(*m_chainman, kernel::CacheSizes{8 << 20}, load)};
        if (status != node::ChainstateLoadStatus::SUCCESS) throw std::runtime_error(why.original);
        if (auto result{m_chainman->ActivateBestChains()}; !result) {
            throw std::runtime_error(util::ErrorString(result).original);
        }
    }

    ~judge_node() { m_signals.UnregisterAllValidationInterfaces(); }

    judge_node(const judge_node&) = delete;
    judge_node& operator=(const judge_node&) = delete;

    Chainstate& chain() { return WITH_LOCK(::cs_main, return m_chainman->ActiveChainstate()); }

    void check_alarms() const
    {
        if (!m_alarms.m_fatal.empty()) throw std::runtime_error(m_alarms.m_fatal);
    }
};

namespace {

// Runs `body`, which returns JUDGE_OK or JUDGE_REFUSED, and turns every exception into text.
template <typename Body>
int guarded(judge_node* node, char* reason, size_t cap, Body body) noexcept
{
    try {
        put("", reason, cap);
        const int verdict{body()};
        if (node) node->check_alarms();
        return verdict;
    } catch (const NotDecoded& e) {
        put(e.what(), reason, cap);
        return JUDGE_REFUSED;
    } catch (const std::exception& e) {
        put(e.what(), reason, cap);
    } catch (...) {
        put("not a std::exception", reason, cap);
    }
    return JUDGE_BROKEN;
}

} // namespace

extern "C" {

judge_node* judge_new(const char* dir, char* reason, size_t cap) noexcept
{
    judge_node* made{nullptr};
    guarded(nullptr, reason, cap, [&] {
        static std::once_flag silenced;
        std::call_once(silenced, [] { LogInstance().DisableLogging(); });
        made = new judge_node{dir};
        return JUDGE_OK;
    });
    return made;
}

void judge_free(judge_node* node) noexcept { delete node; }

void judge_mock_time(int64_t seconds) noexcept { SetMockTime(seconds); }

int judge_tip(judge_node* node, uint8_t* hash32, int32_t* height, uint32_t* time, char* reason, size_t cap) noexcept
{
    return guarded(node, reason, cap, [&] {
        LOCK(::cs_main);
        const CBlockIndex* tip{node->m_chainman->ActiveChain().Tip()};
        if (!tip) throw std::runtime_error("the chain has no tip");
        const uint256 hash{tip->GetBlockHash()};
        std::copy(hash.begin(), hash.end(), hash32);
        *height = tip->nHeight;
        *time = tip->nTime;
        return JUDGE_OK;
    });
}

// Stores the block and activates the best chain. Refused if this block, or one that it made Core
// connect, broke a rule. A valid block of a branch with less work is accepted; the tip stays.
int judge_block(judge_node* node, const uint8_t* bytes, size_t len, char* reason, size_t cap) noexcept
{
    return guarded(node, reason, cap, [&] {
        const auto block{read_block(bytes, len)};
        node->m_verdicts.clear();
        bool fresh{false};
        const bool processed{node->m_chainman->ProcessNewBlock(block, /*force_processing=*/true, /*min_pow_checked=*/true, &fresh)};
        if (node->m_verdicts.m_refused) {
            put(node->m_verdicts.m_first_refusal, reason, cap);
            return JUDGE_REFUSED;
        }
        if (!processed) throw std::runtime_error("Core did not process the block");
        if (!fresh) {
            put("duplicate", reason, cap);
            return JUDGE_REFUSED;
        }
        return JUDGE_OK;
    });
}

// Whether the block could be connected to the tip. Changes nothing, remembers nothing.
int judge_block_test(judge_node* node, const uint8_t* bytes, size_t len, char* reason, size_t cap) noexcept
{
    return guarded(node, reason, cap, [&] {
        const auto block{read_block(bytes, len)};
        Chainstate& chain{node->chain()};
        LOCK(::cs_main);
        const BlockValidationState state{TestBlockValidity(chain, *block, /*check_pow=*/true, /*check_merkle_root=*/true)};
        if (state.IsValid()) return JUDGE_OK;
        put(state.ToString(), reason, cap);
        return JUDGE_REFUSED;
    });
}

// Takes the block with this hash and all after it off the chain; their transactions go back to the mempool.
int judge_invalidate(judge_node* node, const uint8_t* hash32, char* reason, size_t cap) noexcept
{
    return guarded(node, reason, cap, [&] {
        const uint256 hash{std::span<const unsigned char>{hash32, 32}};
        CBlockIndex* index{WITH_LOCK(::cs_main, return node->m_chainman->m_blockman.LookupBlockIndex(hash))};
        if (!index) throw std::runtime_error("unknown block");
        Chainstate& chain{node->chain()};
        BlockValidationState state;
        if (!chain.InvalidateBlock(state, index) || !state.IsValid()) throw std::runtime_error(state.ToString());
        if (!chain.ActivateBestChain(state)) throw std::runtime_error(state.ToString());
        return JUDGE_OK;
    });
}

int judge_tx(judge_node* node, const uint8_t* bytes, size_t len, int test_only, char* reason, size_t cap) noexcept
{
    return guarded(node, reason, cap, [&] {
        const CTransactionRef tx{read_tx(bytes, len)};
        LOCK(::cs_main);
        const MempoolAcceptResult result{node->m_chainman->ProcessTransaction(tx, test_only != 0)};
        if (result.m_result_type == MempoolAcceptResult::ResultType::VALID) return JUDGE_OK;
        put(result.m_state.ToString(), reason, cap);
        return JUDGE_REFUSED;
    });
}

// `bytes` holds `count` transactions one after another, parents first. `reason`: the package's own
// reason (empty if there is none), then a line for each transaction, empty if it is in the mempool.
int judge_package(judge_node* node, const uint8_t* bytes, size_t len, size_t count, char* reason, size_t cap) noexcept
{
    return guarded(node, reason, cap, [&] {
        Bytes reader{bytes, len};
        Package package;
        for (size_t i{0}; i < count; ++i) package.push_back(reader.tx());
        reader.end();
        Chainstate& chain{node->chain()};
        const auto result{WITH_LOCK(::cs_main, return ProcessNewPackage(chain, *node->m_mempool, package, /*test_accept=*/false, /*client_maxfeerate=*/{}))};
        bool all{result.m_state.IsValid()};
        std::string text{result.m_state.IsValid() ? "" : result.m_state.ToString()};
        for (const auto& tx : package) {
            text += '\n';
            const auto found{result.m_tx_results.find(tx->GetWitnessHash())};
            if (found == result.m_tx_results.end()) {
                all = false;
                text += "not looked at";
            } else if (found->second.m_result_type == MempoolAcceptResult::ResultType::INVALID) {
                all = false;
                text += found->second.m_state.ToString();
            } else if (!node->m_mempool->exists(tx->GetHash())) {
                all = false;
                text += "evicted";
            }
        }
        put(text, reason, cap);
        return all ? JUDGE_OK : JUDGE_REFUSED;
    });
}

// Writes the ids of at most `cap_ids` transactions, 32 bytes each, and returns how many there are.
size_t judge_mempool(judge_node* node, uint8_t* ids, size_t cap_ids) noexcept
{
    const auto all{node->m_mempool->infoAll()};
    for (size_t i{0}; i < std::min(all.size(), cap_ids); ++i) {
        const uint256 id{all[i].tx->GetHash().ToUint256()};
        std::copy(id.begin(), id.end(), ids + 32 * i);
    }
    return all.size();
}

} // extern "C"
